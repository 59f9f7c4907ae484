"""What relates the values of a stack file to each other.

A rule reads the plain data with the model's defaults filled in, not the model, and passes over
what is missing or of another type: so every rule runs, and says what it can, even when other
values are refused.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import itertools
import math
import re
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from infra import naming
from infra.settings.problems import HIDDEN, Problem, join, nearest, shown

ABSENT: Final = object()
GENERATED_UUID_LENGTH: Final = 36
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MINUTES_A_DAY: Final = 24 * 60
SHORTEST_WINDOW: Final = 30
"""Minutes; RDS takes no shorter window."""

NEEDED_ADDONS: Final = ("vpc-cni", "kube-proxy", "coredns", "eks-pod-identity-agent")
"""What every cluster needs: the program installs none but the listed."""


@dataclass(frozen=True)
class Node:
    """A place in a stack file's plain data: its path and what is there, if anything."""

    file: str
    path: str
    value: object = field(repr=False)

    def __getitem__(self, key: str) -> Node:
        value = self.value.get(key, ABSENT) if isinstance(self.value, Mapping) else ABSENT
        return Node(self.file, join(self.path, key), value)

    def __iter__(self) -> Iterator[Node]:
        items = self.value if isinstance(self.value, list | tuple) else ()
        for index, item in enumerate(items):
            yield Node(self.file, join(self.path, index), item)

    @property
    def there(self) -> bool:
        """Whether the key is present with something in it."""
        return self.value is not ABSENT and self.value is not None

    @property
    def text(self) -> str | None:
        """The value where it is text."""
        return self.value if isinstance(self.value, str) else None

    @property
    def number(self) -> int | None:
        """The value where it is a whole number."""
        value = self.value
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    @property
    def network(self) -> ipaddress.IPv4Network | None:
        """The value where it is an IPv4 range."""
        try:
            return ipaddress.IPv4Network(self.value) if isinstance(self.value, str) else None
        except ValueError:
            return None

    def problem(self, allowed: str, remedy: str, found: str | None = None) -> Problem:
        """Refuse what is here."""
        there = "nothing" if self.value is ABSENT else shown(self.value)
        return Problem(self.file, self.path, there if found is None else found, allowed, remedy)


LONGEST_WAIVER: Final = dt.timedelta(days=731)

Rule = Callable[[Node], Iterator[Problem]]


def check(settings: Node, today: dt.date) -> Iterator[Problem]:
    """Run every rule over the plain data of one stack file."""
    for rule in RULES:
        yield from rule(settings)
    yield from _waivers_end_in_time(settings, today)


def _repeated(nodes: Iterator[Node], what: str) -> Iterator[Problem]:
    """Refuse the second of two nodes with an equal value, naming the first."""
    first: dict[Hashable, str] = {}
    for node in nodes:
        value = node.value
        if not isinstance(value, str | int):
            continue
        if value in first:
            yield node.problem(
                f"each {what} once",
                f"it is also at {first[value]}: remove or rename one of the two",
            )
        else:
            first[value] = node.path


def _unknown(node: Node, known: set[str], what: str, where: str) -> Iterator[Problem]:
    """Refuse a reference to a name that is not declared."""
    if node.text is None or node.text in known:
        return
    guess = nearest(node.text, known)
    hint = f"did you mean {guess}? Otherwise " if guess else ""
    yield node.problem(
        f"a {what} that {where} declares: {', '.join(sorted(known)) or 'none is declared'}",
        f"{hint}declare it in {where}, or remove it here",
    )


def _names(nodes: Node) -> set[str]:
    return {name for item in nodes if (name := item["name"].text) is not None}


# Places


def _zones_are_the_regions(settings: Node) -> Iterator[Problem]:
    region = settings["region"].text
    zones = settings["network"]["availability_zones"]
    yield from _repeated(iter(zones), "zone")
    if region is None:
        return
    for zone in zones:
        if zone.text is not None and zone.text[:-1] != region:
            yield zone.problem(
                f"a zone of {region}, such as {region}a",
                "name a zone of the region, or correct `region`",
            )


def _regions_differ(settings: Node) -> Iterator[Problem]:
    secondary = settings["secondary_region"]
    if secondary.text is not None and secondary.text == settings["region"].text:
        yield secondary.problem(
            "a region other than `region`", "a copy in the same region is lost with it: choose two"
        )


def _ranges_are_apart(settings: Node) -> Iterator[Problem]:
    vpc, services = settings["network"]["cidr"], settings["eks"]["service_cidr"]
    if vpc.network and services.network and vpc.network.overlaps(services.network):
        yield services.problem(
            f"a range apart from the VPC's, {vpc.network}",
            "pods could not reach one of the two: choose another range",
        )


def _endpoints_differ(settings: Node) -> Iterator[Problem]:
    endpoints = settings["network"]["interface_endpoints"]
    yield from _repeated(iter(endpoints), "endpoint")
    for endpoint in endpoints:
        if endpoint.text in {"s3", "dynamodb"}:
            yield endpoint.problem(
                "a service other than s3 and dynamodb",
                "every VPC has their gateway endpoints, which cost nothing: remove it",
            )


# Cluster


def _public_access_is_limited(settings: Node) -> Iterator[Problem]:
    eks = settings["eks"]
    ranges = eks["public_access_cidrs"]
    if eks["public_access"].value is True and not list(ranges):
        yield ranges.problem(
            "at least one range while public_access is true",
            "list who may reach the endpoint, or set public_access to false",
        )
    if eks["public_access"].value is not True and list(ranges):
        yield ranges.problem(
            "no range while public_access is false", "remove the ranges, or open public access"
        )


def _sizes_are_ordered(settings: Node) -> Iterator[Problem]:
    for group in settings["eks"]["node_groups"]:
        least, most = group["min_size"], group["max_size"]
        desired = group["desired_size"]
        for lower, upper in ((least, desired), (desired, most), (least, most)):
            if (
                lower.number is not None
                and upper.number is not None
                and (lower.number > upper.number)
            ):
                yield lower.problem(
                    f"at most {upper.path.rpartition('.')[2]}, {upper.number}",
                    "order the sizes: min_size ≤ desired_size ≤ max_size",
                )


def _images_fit_instances(settings: Node) -> Iterator[Problem]:
    """Graviton families carry a g after the generation: m7g, t4g, c7gn."""
    for group in settings["eks"]["node_groups"]:
        image = group["ami_type"].text
        if image not in {"AL2023_ARM_64_STANDARD", "AL2023_x86_64_STANDARD"}:
            continue
        for instance in group["instance_types"]:
            family = re.match(r"[a-z]+\d+([a-z]*)[a-z0-9-]*\.", instance.text or "")
            if family is None:
                continue
            is_arm = family[1].startswith("g") or family[0] == "a1."
            if is_arm != ("ARM" in image):
                yield instance.problem(
                    f"an instance type that runs {image}",
                    "choose the other architecture's instance type, or change ami_type",
                )


def _node_groups_differ(settings: Node) -> Iterator[Problem]:
    groups = settings["eks"]["node_groups"]
    yield from _repeated((group["name"] for group in groups), "node group")


def _needed_addons_are_there(settings: Node) -> Iterator[Problem]:
    addons = settings["eks"]["addons"]
    given = addons.value if isinstance(addons.value, Mapping) else NEEDED_ADDONS
    missing = [addon for addon in NEEDED_ADDONS if addon not in given]
    if missing:
        yield addons.problem(
            f"{', '.join(NEEDED_ADDONS)} among the add-ons",
            f"no node would become ready without {' and '.join(missing)}: pin a version of each",
        )


def _autoscaler_fits_the_cluster(settings: Node) -> Iterator[Problem]:
    eks = settings["eks"]
    version, autoscaler = eks["version"], eks["cluster_autoscaler"]
    if version.text is None or autoscaler.text is None:
        return
    if autoscaler.text.removeprefix("v").rpartition(".")[0] != version.text:
        yield autoscaler.problem(
            f"a release v{version.text}.N, as the cluster's version is {version.text}",
            "its simulation has to be of the cluster's scheduler: choose the same minor version",
        )


# Databases


def _databases_differ(settings: Node) -> Iterator[Problem]:
    databases = settings["databases"]
    yield from _repeated((database["name"] for database in databases), "database")
    yield from _repeated((database["identifier"] for database in databases), "identifier")


def _identifiers_are_ours(settings: Node) -> Iterator[Problem]:
    """Operators and policies know the environment's databases by this beginning."""
    environment = settings["environment"].text
    if environment is None:
        return
    ours = naming.prefix(environment)
    for database in settings["databases"]:
        identifier = database["identifier"]
        if identifier.text is not None and not (
            identifier.text == ours or identifier.text.startswith(f"{ours}-")
        ):
            yield identifier.problem(f"{ours}, or a name that begins with {ours}-", "rename it")


def _last_snapshots_are_named(settings: Node) -> Iterator[Problem]:
    """Demand names of their own for each teardown's snapshots: a name is taken once only."""
    protection, stamp = settings["deletion_protection"], settings["final_snapshot_stamp"]
    torn_down = protection.value is False
    if torn_down and not stamp.there and any(True for _ in settings["databases"]):
        yield stamp.problem(
            "date and time in UTC with deletion_protection: false",
            "say when the teardown began, such as 20261231-235959, so that databases can go",
        )
    if stamp.there and not torn_down:
        yield stamp.problem("nothing but in a teardown", "remove it: it names last snapshots")


def _storage_can_grow(settings: Node) -> Iterator[Problem]:
    for database in settings["databases"]:
        storage, most = database["storage_gb"], database["max_storage_gb"]
        if storage.number is None or most.number is None or most.number == storage.number:
            continue
        least = storage.number + math.ceil(storage.number / 10)
        if most.number < least:
            yield most.problem(
                f"storage_gb, {storage.number}, for storage that does not grow; "
                f"or a tenth more, {least} at least, which RDS asks for",
                "raise it, or make the storage smaller",
            )


def _windows_are_apart(settings: Node) -> Iterator[Problem]:
    """Refuse what RDS refuses: a backup in the hours of maintenance."""
    for database in settings["databases"]:
        backup, maintenance = database["backup_window"], database["maintenance_window"]
        daily = _minutes(backup.text or "")
        weekly = _minutes(maintenance.text or "")
        if daily and weekly and any(minute % MINUTES_A_DAY in daily for minute in weekly):
            yield backup.problem(
                f"hours apart from maintenance_window, {maintenance.text}", "move one of the two"
            )
        for window, minutes in ((backup, daily), (maintenance, weekly)):
            if 0 < len(minutes) < SHORTEST_WINDOW:
                yield window.problem("30 minutes or more", "make it longer")


def _minutes(window: str) -> frozenset[int]:
    """Return the minutes of the day or week that a window covers; none for other text."""
    times = re.fullmatch(r"(?:([a-z]{3}):)?(\d\d):(\d\d)-(?:([a-z]{3}):)?(\d\d):(\d\d)", window)
    if times is None:
        return frozenset()
    first_day, *start, last_day, end_hour, end_minute = times.groups()
    if (first_day is None) != (last_day is None) or not {first_day, last_day} <= {*DAYS, None}:
        return frozenset()
    whole = MINUTES_A_DAY if first_day is None else MINUTES_A_DAY * len(DAYS)
    begin = _minute(first_day, *start)
    length = (_minute(last_day, end_hour, end_minute) - begin) % whole
    return frozenset((begin + offset) % whole for offset in range(length))


def _minute(day: str | None, hour: str, minute: str) -> int:
    days = 0 if day is None else DAYS.index(day)
    return days * MINUTES_A_DAY + int(hour) * 60 + int(minute)


# Parameters


def _parameters_differ(settings: Node) -> Iterator[Problem]:
    catalogue = settings["parameters"]["catalogue"]
    yield from _repeated((entry["name"] for entry in catalogue), "parameter")


def _values_have_one_origin(settings: Node) -> Iterator[Problem]:
    for entry in settings["parameters"]["catalogue"]:
        match entry["type"].text, entry["owner"].text:
            case "SecureString", owner:
                yield from _secret_is_generated(entry, owner)
            case "String", "program":
                yield from _derived_or_given(entry)
            case "String", "operator":
                yield from _initially_given(entry)


def _secret_is_generated(entry: Node, owner: str | None) -> Iterator[Problem]:
    if owner == "program":
        yield entry["owner"].problem(
            "operator for a SecureString",
            "what the program owns is readable in its state: let `ops params` own it",
        )
    if not entry["generator"].there:
        yield entry["generator"].problem(
            "a kind and a length for a SecureString",
            "say how its values are made: no secret has a default",
        )
    for key in ("value", "initial"):
        if entry[key].there:
            yield entry[key].problem(
                "nothing for a SecureString",
                "remove it, treat it as disclosed, and set a new one by `ops params`",
                found=HIDDEN,
            )
    if entry["source"].there:
        yield entry["source"].problem("nothing for a SecureString", "remove it")


def _derived_or_given(entry: Node) -> Iterator[Problem]:
    value, source = entry["value"], entry["source"]
    if value.there == source.there:
        yield value.problem(
            "either `value` or `source`, not both" if value.there else "`value` or `source`",
            "remove one of the two" if value.there else "give one of the two",
            found="both" if value.there else "neither",
        )
    yield from _not_for(entry, "a program-owned String", "initial", "generator", "rotation_days")


def _initially_given(entry: Node) -> Iterator[Problem]:
    if not entry["initial"].there:
        yield entry["initial"].problem(
            "the first value of an operator-owned String", "give one: `ops params` changes it later"
        )
    yield from _not_for(entry, "an operator-owned String", "value", "source", "generator")


def _not_for(entry: Node, what: str, *keys: str) -> Iterator[Problem]:
    for key in keys:
        if entry[key].there:
            yield entry[key].problem(f"nothing for {what}", "remove it", found=HIDDEN)


def _values_match_their_pattern(settings: Node) -> Iterator[Problem]:
    for entry in settings["parameters"]["catalogue"]:
        pattern = entry["pattern"].text
        if pattern is None or entry["type"].text != "String":
            continue
        try:
            compiled = re.compile(pattern)
        except (re.error, OverflowError, RecursionError):
            continue
        for key in ("value", "initial"):
            text = entry[key].text
            if text is not None and compiled.fullmatch(text) is None:
                yield entry[key].problem(
                    f"what matches the entry's pattern {pattern}", "correct value or pattern"
                )


def _uuids_have_their_length(settings: Node) -> Iterator[Problem]:
    for entry in settings["parameters"]["catalogue"]:
        generator = entry["generator"]
        length = generator["length"]
        if generator["kind"].text == "uuid" and length.number != GENERATED_UUID_LENGTH:
            yield length.problem(
                f"{GENERATED_UUID_LENGTH} for a uuid", f"write length: {GENERATED_UUID_LENGTH}"
            )


def _parameters_name_what_exists(settings: Node) -> Iterator[Problem]:
    databases, workloads = _names(settings["databases"]), _names(settings["workloads"])
    for entry in settings["parameters"]["catalogue"]:
        yield from _unknown(entry["database"], databases, "database", "databases")
        for workload in entry["restarts"]:
            yield from _unknown(workload, workloads, "workload", "workloads")
        source = entry["source"]
        match (source.text or "").split("."):
            case ["database", name, _] if name not in databases:
                yield from _unknown_source(source, name, databases, "databases")
            case ["workload", name, _] if name not in workloads:
                yield from _unknown_source(source, name, workloads, "workloads")


def _unknown_source(source: Node, name: str, known: set[str], where: str) -> Iterator[Problem]:
    guess = nearest(name, known)
    yield source.problem(
        f"a name that {where} declares: {', '.join(sorted(known)) or 'none is declared'}",
        f"did you mean {guess}?" if guess else f"declare {name} in {where}",
    )


def _readers_are_other_accounts(settings: Node) -> Iterator[Problem]:
    account = settings["account_id"].text
    access = settings["parameters"]["access"]
    yield from _repeated(iter(access["irsa_subjects"]), "service account")
    readers = access["cross_account"]
    yield from _repeated((reader["arn"] for reader in readers), "principal")
    for reader in readers:
        arn = reader["arn"]
        if account and arn.text is not None and f"::{account}:" in arn.text:
            yield arn.problem(
                "a principal of another account",
                "principals of this account are granted the role by IAM: remove it",
            )


# People, machines and the cluster's inhabitants


def _people_differ(settings: Node) -> Iterator[Problem]:
    for section, what in (("groups", "group"), ("users", "user")):
        yield from _repeated((item["name"] for item in settings[section]), what)
    yield from _repeated((user["email"] for user in settings["users"]), "e-mail address")
    accounts = settings["service_accounts"]
    yield from _repeated((account["name"] for account in accounts), "service account")


def _groups_are_not_the_programs(settings: Node) -> Iterator[Problem]:
    """Keep clear of the groups that the program makes beside those of the stack file."""
    own = {"break-glass", "self-service"}
    for group in settings["groups"]:
        name = group["name"].text or ""
        if name in own or name.endswith("-services"):
            yield group["name"].problem(
                f"another name than {', '.join(sorted(own))} and …-services",
                "the program makes groups that are called so: rename it",
            )


def _users_are_not_machines(settings: Node) -> Iterator[Problem]:
    """Both are IAM users of one account: `cicd-service` would be the machine `cicd`."""
    machines = {f"{name}-service" for name in _names(settings["service_accounts"])}
    for user in settings["users"]:
        if user["name"].text in machines:
            yield user["name"].problem(
                "a name that is no service account's", "the IAM users would be one: rename it"
            )


def _groups_are_declared(settings: Node) -> Iterator[Problem]:
    groups = _names(settings["groups"])
    for user in settings["users"]:
        yield from _repeated(iter(user["groups"]), "group")
        for group in user["groups"]:
            yield from _unknown(group, groups, "group", "groups")
    access = settings["kubernetes"]["access"]
    yield from _repeated((entry["group"] for entry in access), "group")
    for entry in access:
        yield from _unknown(entry["group"], groups, "group", "groups")


def _workloads_differ(settings: Node) -> Iterator[Problem]:
    workloads = settings["workloads"]
    yield from _repeated((workload["name"] for workload in workloads), "workload")
    yield from _repeated((workload["node_port"] for workload in workloads), "node port")


def _namespaces_are_ours(settings: Node) -> Iterator[Problem]:
    inhabitants = (settings["workloads"], settings["kubernetes"]["service_accounts"])
    for inhabitant in itertools.chain(*inhabitants):
        namespace = inhabitant["namespace"]
        if namespace.text is not None and re.match(r"default$|kube-", namespace.text):
            yield namespace.problem(
                "a namespace of the application, not default and not kube-*",
                "name a namespace of its own: rights there would reach into the cluster's",
            )


def _kubernetes_accounts_differ(settings: Node) -> Iterator[Problem]:
    own: dict[tuple[str | None, str | None], str] = {}
    for workload in settings["workloads"]:
        name = workload["service_account"]
        own.setdefault((workload["namespace"].text, name.text), name.path)
    for account in settings["kubernetes"]["service_accounts"]:
        key = (account["namespace"].text, account["name"].text)
        if None not in key and key in own:
            yield account["name"].problem(
                "each service account of a namespace once",
                f"it is also at {own[key]}: remove or rename one of the two",
            )
        own.setdefault(key, account["name"].path)


# The rest


def _certificate_is_here(settings: Node) -> Iterator[Problem]:
    arn = settings["load_balancer"]["certificate_arn"]
    region, account = settings["region"].text, settings["account_id"].text
    match (arn.text or "").split(":"):
        case ["arn", _, "acm", its_region, its_account, _] if (
            region is not None and account is not None
        ) and (its_region, its_account) != (region, account):
            yield arn.problem(
                f"a certificate of account {account} in {region}",
                "a load balancer serves only its own account's and region's certificates",
            )


def _pipeline_may_deploy(settings: Node) -> Iterator[Problem]:
    """Refuse a list of deployers that locks out the repository which is to deploy."""
    environment, account = settings["environment"].text, settings["account_id"].text
    repository = settings["account"]["github_repository"]
    principals = settings["deployment"]["trusted_principals"]
    named = {node.text for node in principals}
    if repository.text is None or environment is None or account is None or not named:
        return
    role = naming.role_arn(account, naming.github_deploy_role(environment))
    if not named & {role, naming.account_arn(account)}:
        yield principals.problem(
            f"a list with {role}",
            f"the jobs of {repository.text} take this role to deploy: add it",
            found="a list without it",
        )


def _backend_is_here(settings: Node) -> Iterator[Problem]:
    """Refuse a line copied from another environment: state and key are each one's own."""
    environment = settings["environment"].text
    backend = settings["backend"]
    if environment is None:
        return
    ours = naming.state_bucket(environment)
    url, key = backend["url"], backend["secrets_provider"]
    if (
        url.text is not None
        and url.text.startswith("s3://")
        and not (url.text.startswith(f"s3://{ours}-"))
    ):
        yield url.problem(f"s3://{ours}-…", "write the line that this environment's bootstrap said")
    for other in naming.ENVIRONMENTS:
        alias = naming.state_key_alias(other)
        if other != environment and key.text is not None and alias in key.text:
            yield key.problem(
                f"the key of {environment}, {naming.state_key_alias(environment)}",
                f"this is the key of {other}: a run there could read these secrets",
            )


def _tags_are_free(settings: Node) -> Iterator[Problem]:
    tags = settings["tags"]
    for key in tags.value if isinstance(tags.value, Mapping) else ():
        if isinstance(key, str) and key in naming.RESERVED_TAGS:
            yield tags[key].problem(
                "a tag that the program does not set", "remove it, or use another key"
            )


def _people_are_told_once(settings: Node) -> Iterator[Problem]:
    percents = settings["budget"]["alert_percents"]
    yield from _repeated(iter(percents), "percentage")
    for section in ("budget", "alarms"):
        yield from _repeated(iter(settings[section]["recipients"]), "recipient")
    yield from _repeated(iter(settings["deployment"]["trusted_principals"]), "principal")
    for percent in percents:
        if percent.number is not None and not 1 <= percent.number <= 1000:  # noqa: PLR2004
            yield percent.problem("1 to 1000 percent", "choose a percentage of the limit")


def _waivers_differ(settings: Node) -> Iterator[Problem]:
    seen: dict[tuple[str | None, str | None], str] = {}
    for waiver in settings["waivers"]:
        key = (waiver["control"].text, waiver["resource"].text)
        if None not in key and key in seen:
            yield waiver["control"].problem(
                "each control and resource once", f"it is also at {seen[key]}: keep one"
            )
        seen.setdefault(key, waiver["control"].path)


def _waivers_end_in_time(settings: Node, today: dt.date) -> Iterator[Problem]:
    """Refuse an end so far off that nobody will look again. One that is past is no refusal."""
    latest = today + LONGEST_WAIVER
    for until in (waiver["until"] for waiver in settings["waivers"]):
        try:
            last = dt.date.fromisoformat(until.text or "")
        except ValueError:
            continue
        if last > latest:
            yield until.problem(
                f"a day not after {latest.isoformat()}",
                "a waiver is looked at again within two years: choose an earlier end",
            )


RULES: Final[tuple[Rule, ...]] = (
    _zones_are_the_regions,
    _regions_differ,
    _ranges_are_apart,
    _endpoints_differ,
    _public_access_is_limited,
    _sizes_are_ordered,
    _images_fit_instances,
    _node_groups_differ,
    _needed_addons_are_there,
    _autoscaler_fits_the_cluster,
    _databases_differ,
    _identifiers_are_ours,
    _last_snapshots_are_named,
    _storage_can_grow,
    _windows_are_apart,
    _parameters_differ,
    _values_have_one_origin,
    _values_match_their_pattern,
    _uuids_have_their_length,
    _parameters_name_what_exists,
    _readers_are_other_accounts,
    _people_differ,
    _groups_are_not_the_programs,
    _users_are_not_machines,
    _groups_are_declared,
    _workloads_differ,
    _namespaces_are_ours,
    _kubernetes_accounts_differ,
    _certificate_is_here,
    _pipeline_may_deploy,
    _backend_is_here,
    _tags_are_free,
    _people_are_told_once,
    _waivers_differ,
)
