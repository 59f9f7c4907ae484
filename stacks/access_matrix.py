"""Who may do what, where, in the clusters: the rows of the access matrix, and its page. Pure.

The rows come from the same settings and the same rules as the objects in the cluster, and say
what holds there: what no row says is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from components.kubernetes_roles import (
    CLUSTER_WIDE,
    MACHINES,
    PEOPLE,
    READ,
    WRITE,
    Rule,
    cluster_wide,
    workload_rules,
)
from components.rbac_bindings import (
    BREAK_GLASS_MFA_AGE_SECONDS,
    CLUSTER_ADMIN,
    MFA_AGE_SECONDS,
    SESSION_SECONDS,
    PeopleGroup,
)
from infra import naming
from infra.settings import Settings
from stacks.cluster_access import (
    break_glass,
    namespaces,
    people_groups,
    service_account_subject,
)

EVERYTHING: Final = "*"
"""In place of resources and verbs, and of the API group: of the break-glass group alone."""


@dataclass(frozen=True, kw_only=True, order=True)
class AccessRow:
    """A subject may use the verbs on a resource."""

    subject: str
    """A Kubernetes group, or `system:serviceaccount:{namespace}:{name}`."""
    namespace: str | None
    """Where; None: in every namespace, and on what is in none."""
    group: str
    """API group; empty: the core group."""
    resource: str
    """In the plural, with its subresource: `pods/log`."""
    names: tuple[str, ...]
    """Only the objects of these names; empty: all."""
    verbs: tuple[str, ...]


def access_rows(settings: Settings) -> tuple[AccessRow, ...]:
    """Return every right that anybody has in an environment's cluster, once and in order."""
    merged: dict[tuple[str, str | None, str, str, tuple[str, ...]], set[str]] = {}
    for subject, namespace, rule in _grants(settings):
        for resource in rule.resources:
            key = (subject, namespace, rule.group, resource, tuple(sorted(rule.names)))
            merged.setdefault(key, set()).update(rule.verbs)
    rows = [
        AccessRow(
            subject=subject,
            namespace=namespace,
            group=group,
            resource=resource,
            names=names,
            verbs=tuple(sorted(verbs)),
        )
        for (subject, namespace, group, resource, names), verbs in merged.items()
    ]
    return tuple(sorted(rows, key=_order))


def _order(row: AccessRow) -> tuple[str, str, str, str, tuple[str, ...]]:
    return (row.subject, row.namespace or "", row.group, row.resource, row.names)


def _grants(settings: Settings) -> Iterator[tuple[str, str | None, Rule]]:
    """Give each rule with who has it and where."""
    for group in people_groups(settings):
        for rule in CLUSTER_WIDE[cluster_wide(group.role, group.namespaces)]:
            yield group.kubernetes_group, None, rule
        for namespace in _places(settings, group):
            for rule in PEOPLE[group.role]:
                yield group.kubernetes_group, namespace, rule
    for workload in settings.workloads:
        for rule in workload_rules(workload.name):
            yield (
                service_account_subject(workload.namespace, workload.service_account),
                workload.namespace,
                rule,
            )
    for account in settings.kubernetes.service_accounts:
        for rule in MACHINES[account.role]:
            yield service_account_subject(account.namespace, account.name), account.namespace, rule
    anything = Rule(group=EVERYTHING, resources=[EVERYTHING], verbs=[EVERYTHING])
    yield break_glass(settings).kubernetes_group, None, anything


def _places(settings: Settings, group: PeopleGroup) -> Sequence[str]:
    return group.namespaces or namespaces(settings)


_HEAD = f"""# Who may do what in the clusters

Written by `stacks.access_matrix.page()` from the stack files and the rules that the program binds;
a test compares the two. What is not listed here is refused.

## How people get in

A group of people has an IAM role of its own, `mono-repo-{{env}}-kubernetes-{{group}}`. Its members,
and nobody else, may assume it:

- the policy of their IAM group allows it;
- the session was begun with an MFA code that is not older than {MFA_AGE_SECONDS // 60} minutes;
- the session is named after the IAM user, so that the audit log names a person;
- it ends after {SESSION_SECONDS // 60} minutes.

A profile for it, in `~/.aws/config`, and then the cluster's entry in `~/.kube/config`:

```ini
[profile mono-repo-dev-kubernetes]
role_arn = arn:aws:iam::ACCOUNT_ID:role/mono-repo-dev-kubernetes-operations
source_profile = mono-repo-dev
mfa_serial = arn:aws:iam::ACCOUNT_ID:mfa/mono-repo-dev-john-smith
role_session_name = mono-repo-dev-john-smith
region = us-east-1
```

```sh
aws eks update-kubeconfig --name mono-repo-dev --profile mono-repo-dev-kubernetes
```

Do not pass `--role-arn` to it: it would name the session after itself, and ask for no code.

## Break glass

Only `{naming.kubernetes_group(naming.BREAK_GLASS)}` is bound to `{CLUSTER_ADMIN}`. The way in is
`mono-repo-{{env}}-kubernetes-{naming.BREAK_GLASS}`, with a code that is not older than
{BREAK_GLASS_MFA_AGE_SECONDS // 60} minutes. Every request that is made with it is in the control
plane's audit log and raises an alarm within minutes. What was changed that way is drift, which
`ops refresh` finds.

## What to know about it

- *read* is `get`, `list` and `watch`; *write* is `create`, `delete`, `patch` and `update`.
- A role without namespaces means all namespaces of the application, and reading everywhere else.
- Whoever may change a Deployment can have its pods run anything, with what the workload may do.
- Only administrators read secrets, since listing them shows what they hold.
- A service account of a Deployment's name is that Deployment's; the others use the workload's.
"""


def page(every: Mapping[str, Settings]) -> str:
    """Return docs/access-matrix.md, for the settings of each environment."""
    parts = [_HEAD, *_rights_sections()]
    for env, settings in every.items():
        parts += [f"## {env}\n", *_environment(settings)]
    return "\n".join(parts)


def _environment(settings: Settings) -> Iterator[str]:
    yield _line(["subject", "who", "has", "in"])
    yield _line(["---"] * 4)
    for group in people_groups(settings):
        who = f"people with `{group.iam_role_name}`"
        subject = f"`{group.kubernetes_group}`"
        places = ", ".join(f"`{place}`" for place in _places(settings, group))
        yield _line([subject, who, group.role, places])
        wide = cluster_wide(group.role, group.namespaces)
        yield _line([subject, who, f"cluster-{wide}", "everywhere"])
    glass = break_glass(settings)
    yield _line(
        [
            f"`{glass.kubernetes_group}`",
            f"people with `{glass.iam_role_name}`",
            CLUSTER_ADMIN,
            "everywhere",
        ]
    )
    for account in settings.kubernetes.service_accounts:
        subject = service_account_subject(account.namespace, account.name)
        yield _line(
            [f"`{subject}`", "its pods", f"machine {account.role}", f"`{account.namespace}`"]
        )
    for workload in settings.workloads:
        subject = service_account_subject(workload.namespace, workload.service_account)
        reads = f"reading the ConfigMap `{workload.name}`"
        yield _line([f"`{subject}`", "its pods", reads, f"`{workload.namespace}`"])
    yield ""


def _rights_sections() -> Iterator[str]:
    yield "## What people may do in a namespace\n"
    yield from _rights({str(role): rules for role, rules in PEOPLE.items()})
    yield "## What people may do outside any one namespace\n"
    yield from _rights({f"cluster-{name}": rules for name, rules in CLUSTER_WIDE.items()})
    yield "## What machines may do in their namespace\n"
    yield from _rights({f"machine {role}": rules for role, rules in MACHINES.items()})


def _rights(roles: Mapping[str, Sequence[Rule]]) -> Iterator[str]:
    """Give a table: a line a resource, a column a role, the verbs in the cells."""
    verbs: dict[tuple[str, str], dict[str, set[str]]] = {}
    for role, rules in roles.items():
        for rule in rules:
            for resource in rule.resources:
                verbs.setdefault((rule.group, resource), {}).setdefault(role, set()).update(
                    rule.verbs
                )
    yield _line(["resource", *roles])
    yield _line(["---"] * (len(roles) + 1))
    for (group, resource), by_role in sorted(verbs.items()):
        name = f"`{resource}`" + (f" ({group})" if group else "")
        yield _line([name, *(_verbs(by_role.get(role, set())) for role in roles)])
    yield ""


def _verbs(verbs: set[str]) -> str:
    """Name the verbs, the usual ones together."""
    named = []
    rest = set(verbs)
    for word, meaning in {"read": set(READ), "write": set(WRITE)}.items():
        if meaning <= rest:
            named.append(word)
            rest -= meaning
    return ", ".join([*named, *sorted(rest)])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
