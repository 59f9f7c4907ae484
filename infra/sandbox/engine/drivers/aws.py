"""The aws provider: carries out a row's operations on the sandbox's cloud.

Deciding (check, diff, preview) uses the rows alone and loads nothing of botocore; only what acts
or reads makes API calls.
"""

from __future__ import annotations

import dataclasses
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

from infra.sandbox.engine.drivers import invokes
from infra.sandbox.engine.drivers.api import Api, ApiError, is_read
from infra.sandbox.engine.drivers.row import Call, Hook, Row, Text
from infra.sandbox.engine.drivers.rows import ROWS
from infra.sandbox.engine.drivers.shapes import (
    from_api,
    member,
    normal,
    scalar_from_api,
    tags_from_api,
    tags_to_api,
    to_api,
)
from infra.sandbox.engine.drivers.values import (
    Change,
    changes,
    equal,
    is_empty,
    merge_tags,
    project,
    without_empty,
)
from infra.sandbox.engine.provider import (
    CheckFailure,
    CheckResult,
    DiffKind,
    DiffResult,
    InitError,
    ProviderError,
    ReadResult,
    UnsupportedTypeError,
)
from infra.sandbox.engine.wire import UNKNOWN, PropertyMap, PropertyValue, contains_unknown

AUTO_NAMED: Final = re.compile(r"-[0-9a-f]{7}(\.fifo)?$")
WAIT_DEADLINE: Final = 300.0
_INSIDE: Final = "$inside"
"""Where what is read keeps those parts apart from what the program gives."""
WAIT_PAUSE: Final = 0.2
GLOBAL_REGION: Final = "us-east-1"

_Result = TypeVar("_Result")


@dataclasses.dataclass
class _Scope:
    """One resource in the middle of an operation; see `row.Scope`."""

    row: Row
    api: Api
    id: str
    props: PropertyMap
    region: str
    old: PropertyMap = dataclasses.field(default_factory=dict)
    applied: list[str] = dataclasses.field(default_factory=list)
    """The operations that have changed something; shared with the copies that hooks are given."""

    @property
    def account(self) -> str:
        return self.api.account

    def call(self, operation: str, args: Mapping[str, Any], service: str = "") -> dict[str, Any]:
        answer = self.api.call(service or self.row.service, operation, args, self.region)
        if not is_read(operation):
            self.applied.append(operation)
        return answer


class AwsProvider:
    """One configured aws provider. Implements `provider.Provider`."""

    def __init__(self, config: PropertyMap, environment: Mapping[str, str]) -> None:
        self._api = Api(config, environment)
        defaults = config.get("defaultTags")
        tags = defaults.get("tags") if isinstance(defaults, Mapping) else None
        self._default_tags: dict[str, Any] = dict(tags) if isinstance(tags, Mapping) else {}
        if not contains_unknown(config):
            self._api.verify()

    # -- deciding ---------------------------------------------------------------------------

    def check(
        self, type_: str, name: str, old_inputs: PropertyMap | None, inputs: PropertyMap
    ) -> CheckResult:
        """Fill in names and defaults; refuse what no row can apply."""
        row = _row(type_)
        failures = [
            *(_unsupported(type_, name, key) for key in sorted(inputs.keys() - row.inputs)),
            *(_missing(name, key) for key in row.required if is_empty(inputs.get(key))),
            *_not_allowed(row, name, inputs),
        ]
        checked = {**{k: v for k, v in row.filled.items() if k not in inputs}, **inputs}
        if row.name and is_empty(checked.get(row.name.property)):
            checked[row.name.property] = _auto_name(row, name, old_inputs or {}, checked)
        return CheckResult(checked, failures)

    def diff(
        self,
        type_: str,
        id_: str,  # noqa: ARG002 - the provider protocol's signature
        old_inputs: PropertyMap,
        old_outputs: PropertyMap,
        inputs: PropertyMap,
    ) -> DiffResult:
        """Compare property by property, by meaning."""
        row = _row(type_)
        detailed: dict[str, DiffKind] = {}
        changed = _changed(row, old_inputs, inputs)
        for name in changed:
            replaces = name in row.forced
            found = _paths(row, name, old_inputs, inputs)
            detailed |= {path: _kind(change, replaces) for path, change in found}
        after = self._all_tags(inputs) if row.tags else UNKNOWN
        if after is not UNKNOWN and "tagsAll" in old_outputs and "tags" not in changed:
            detailed |= dict(changes(old_outputs["tagsAll"], after, "tagsAll"))
        result = DiffResult(detailed)
        keeps_name = row.name is not None and _keeps_name(row.name.property, old_inputs, inputs)
        return DiffResult(detailed, delete_before_replace=bool(result.replace_keys) and keeps_name)

    def preview_outputs(
        self, type_: str, inputs: PropertyMap, old_outputs: PropertyMap | None
    ) -> PropertyMap:
        """Give what is known before acting: inputs, and what an update leaves alone."""
        row = _row(type_)
        tags = {"tagsAll": self._all_tags(inputs)} if row.tags else {}
        if old_outputs is None:
            made = (*row.outputs, *(name for name in row.computed if name not in inputs))
            return {**dict.fromkeys(made, UNKNOWN), **inputs, **tags}
        lasting = {*row.outputs, *row.computed, *row.unmanaged, "region", "id"}
        kept = {key: value for key, value in old_outputs.items() if key in lasting}
        changed = {key: UNKNOWN for key in row.volatile if key in kept}
        inside = {key: _inside(row, key, old_outputs.get(key)) for key in row.inside}
        return _with_inside({**kept, **changed, **inputs, **tags}, inside)

    def secret_outputs(self, type_: str) -> frozenset[str]:
        """Name the outputs that are always secret."""
        return frozenset(_row(type_).secret)

    def is_recorded(self, type_: str) -> bool:  # noqa: ARG002 - every row acts on the cloud
        """Every aws row acts on the sandbox's cloud."""
        return False

    # -- acting -----------------------------------------------------------------------------

    def create(self, type_: str, name: str, inputs: PropertyMap) -> tuple[str, PropertyMap]:
        """Create, configure what creation does not take, wait, and read."""
        row = _row(type_)
        scope = self._scope(row, "", inputs)
        doing = f"creating {row.label} ({_title(row, name, inputs)})"
        scope.id = self._told(doing, row, inputs, lambda: self._create(scope))
        try:
            self._told(doing, row, inputs, lambda: self._configure(scope))
            outputs = self._told(doing, row, inputs, lambda: self._settled(scope, inputs))
        except ProviderError as error:
            there = self._there(type_, scope.id, inputs, inputs)
            raise InitError(str(error), scope.id, there) from error
        return scope.id, outputs

    def read(
        self, type_: str, id_: str, inputs: PropertyMap, outputs: PropertyMap
    ) -> ReadResult | None:
        """Read the live thing, and say which inputs would give it."""
        row = _row(type_)
        known = {**outputs, **inputs}
        importing = not known
        if importing and row.imported:
            known = row.imported(id_)
        scope = self._scope(row, id_, known)
        doing = f"reading {row.label} ({id_})"
        live = self._told(doing, row, known, lambda: self._live(scope))
        if live is None:
            return None
        given = known if importing else inputs
        found = self._told(doing, row, known, lambda: self._properties(scope, live, given))
        live_inputs = _live_inputs(row, found, given, importing)
        return ReadResult(id_, live_inputs, self._outputs(row, scope, found, given))

    def update(
        self,
        type_: str,
        id_: str,
        old_inputs: PropertyMap,
        old_outputs: PropertyMap,
        inputs: PropertyMap,
    ) -> PropertyMap:
        """Apply each changed property by its own operation, and read."""
        row = _row(type_)
        changed = set(_changed(row, old_inputs, inputs))
        lost = changed & row.forced
        if lost:
            raise ProviderError(
                f"{row.label} ({id_}) cannot change {', '.join(sorted(lost))} in place:"
                " it has to be replaced. Nothing was changed."
            )
        lasting = {k: v for k, v in old_outputs.items() if k in row.outputs or k in row.computed}
        scope = self._scope(row, id_, {**row.defaults, **lasting, **inputs})
        scope.old = dict(old_inputs)
        doing = f"updating {row.label} ({_title(row, id_, inputs)})"

        def run() -> PropertyMap:
            for update in row.updates:
                if changed & set(update.on):
                    self._run(scope, update.run)
            if row.tags:
                before = old_outputs.get("tagsAll") or old_inputs.get("tags") or {}
                self._retag(scope, before, self._all_tags(inputs))
            return self._settled(scope, inputs)

        try:
            return self._told(doing, row, {**old_inputs, **inputs}, run)
        except ProviderError as error:
            if not scope.applied:
                raise
            there = self._there(type_, id_, old_inputs, old_outputs)
            raise InitError(str(error), id_, there) from error

    def delete(self, type_: str, id_: str, inputs: PropertyMap, outputs: PropertyMap) -> None:
        """Delete; gone already is success."""
        row = _row(type_)
        scope = self._scope(row, id_, {**row.defaults, **outputs, **inputs})
        doing = f"deleting {row.label} ({_title(row, id_, inputs)})"

        def run() -> None:
            try:
                self._run(scope, row.delete)
            except ApiError as error:
                if not error.gone:
                    raise

        self._told(doing, row, inputs, run)

    def find(self, type_: str, name: str, inputs: PropertyMap) -> tuple[str, ...]:
        """Look for what an interrupted create made: by its id, or all that look like it."""
        row = _row(type_)
        if row.listing is None:
            id_ = self._expected_id(row, inputs)
            return (id_,) if self.read(type_, id_, inputs, {}) else ()
        scope = self._scope(row, "", inputs)
        doing = f"looking for {row.label} ({_title(row, name, inputs)})"
        ids = self._told(doing, row, inputs, lambda: self._run(scope, row.listing)) or []  # type: ignore[arg-type]  # not None here
        return tuple(id_ for id_ in ids if self._looks_like(type_, row, id_, inputs))

    def invoke(self, token: str, args: PropertyMap) -> PropertyMap:
        """Answer an aws function."""
        return invokes.invoke(self._api, token, args)

    # -- one resource -----------------------------------------------------------------------

    def _there(
        self, type_: str, id_: str, inputs: PropertyMap, outputs: PropertyMap
    ) -> PropertyMap:
        """Give the outputs of what was changed half-way; the known ones where it cannot be read."""
        try:
            found = self.read(type_, id_, inputs, outputs)
        except ProviderError:
            return dict(outputs)
        return found.outputs if found else dict(outputs)

    def _scope(self, row: Row, id_: str, props: PropertyMap) -> _Scope:
        region = props.get("region") if not row.global_ else None
        return _Scope(row, self._api, id_, dict(props), region or self._api.region or GLOBAL_REGION)

    def _told(
        self, doing: str, row: Row, props: PropertyMap, act: Callable[[], _Result]
    ) -> _Result:
        """Act; an API's refusal becomes an error that says what was being done, and no secret."""
        try:
            return act()
        except ApiError as error:
            text = _without_secrets(row, props, str(error))
            raise ProviderError(f"{doing}: {text}", maybe_done=error.maybe_done) from None

    def _all_tags(self, inputs: PropertyMap) -> Any:
        tags = inputs.get("tags") or {}
        return UNKNOWN if tags is UNKNOWN else merge_tags(self._default_tags, tags)

    def _create(self, scope: _Scope) -> str:
        row = scope.row
        tags = self._all_tags(scope.props) if row.tags else {}
        tag_arguments = _tag_arguments(row, tags) if tags else {}
        if not isinstance(row.create, Call):
            return str(self._run(scope, row.create, tags=tag_arguments))
        args = {**self._arguments(scope, row.create), **tag_arguments}
        answer = scope.call(row.create.operation, args, row.create.service)
        if callable(row.id):
            return str(row.id(scope))
        return str(_search(row.id, {"args": args, "out": answer, "props": scope.props}))

    def _configure(self, scope: _Scope) -> None:
        """Apply what creation did not take."""
        given = set(scope.props)
        scope.props = {**scope.row.defaults, **scope.props}
        for update in scope.row.updates:
            if update.after_create and (not update.on or given & set(update.on)):
                self._run(scope, update.run)
        tagging = scope.row.tags
        if tagging and not tagging.create and not tagging.specification:
            self._retag(scope, {}, self._all_tags(scope.props))

    def _retag(self, scope: _Scope, before: Mapping[str, str], after: Mapping[str, str]) -> None:
        tagging = scope.row.tags
        if tagging is None or equal(before, after):
            return
        added = {key: value for key, value in after.items() if before.get(key) != value}
        removed = [key for key in before if key not in after]
        if tagging.remove is None:
            self._run(scope, tagging.add, tags=tags_to_api(after, tagging.form))
            return
        if removed:
            keys = [{"Key": key} for key in removed] if tagging.remove_pairs else removed
            self._run(scope, tagging.remove, removed=keys)
        if added:
            self._run(scope, tagging.add, added=tags_to_api(added, tagging.form))

    def _settled(self, scope: _Scope, inputs: PropertyMap) -> PropertyMap:
        """Read until it is ready, and give the outputs."""
        row = scope.row
        end = time.monotonic() + WAIT_DEADLINE
        live = self._live(scope)
        while live is not None and row.pending and _search(row.pending, live):
            if time.monotonic() > end:
                raise ApiError(f"not ready after {WAIT_DEADLINE:.0f} s", "Timeout")
            time.sleep(WAIT_PAUSE)
            live = self._live(scope)
        if live is None:
            raise ApiError(f"{scope.id} is not there after it was made or changed", "NotThere")
        found = self._properties(scope, live, inputs)
        return self._outputs(row, scope, found, inputs)

    def _live(self, scope: _Scope) -> dict[str, Any] | None:
        """Read what is live with all its parts, or None."""
        row = scope.row
        try:
            live = self._run(scope, row.read)
        except ApiError as error:
            if error.gone:
                return None
            raise
        if not live or (row.gone and _search(row.gone, live)):
            return None
        live = dict(live) if isinstance(live, Mapping) else {"value": live}
        for key, part in row.also.items():
            live[key] = self._run(scope, part, live=live)
        return live

    def _properties(self, scope: _Scope, live: dict[str, Any], given: PropertyMap) -> PropertyMap:
        """Turn what is live into properties; those in the words of `given` where they agree."""
        row = scope.row
        by_name = {normal(key): value for key, value in live.items()}
        context = {"live": live, "id": scope.id, "props": scope.props}
        found: PropertyMap = {}
        for name in row.properties - {"tags", "tagsAll", "region", *row.local}:
            if name in row.unmanaged and name not in given:
                continue
            if name in row.reads:
                value = _expression(row.reads[name], scope, context)
            else:
                value = from_api(by_name.get(normal(row.names.get(name, name))))
            if value is not None:
                found[name] = _in_words_of(row, name, given.get(name), value)
            if name in row.inside:
                found.setdefault(_INSIDE, {})[name] = _inside(row, name, value)
        if row.tags:
            found["tagsAll"] = self._live_tags(scope, live)
            own = _own_tags(found["tagsAll"], self._default_tags, given.get("tags"))
            found["tags"] = project_tags(own, given.get("tags"))
        return found

    def _live_tags(self, scope: _Scope, live: Mapping[str, Any]) -> dict[str, str]:
        tagging = scope.row.tags
        if tagging and tagging.list:
            return tags_from_api(self._run(scope, tagging.list, live=live))
        return tags_from_api(live.get("Tags") or live.get("tags") or live.get("TagSet"))

    def _outputs(
        self, row: Row, scope: _Scope, found: PropertyMap, inputs: PropertyMap
    ) -> PropertyMap:
        inside = found.get(_INSIDE, {})
        found = {key: value for key, value in found.items() if key != _INSIDE}
        echoed = {key: value for key, value in inputs.items() if key not in found}
        defaults = {key: value for key, value in row.defaults.items() if key in row.local}
        region = {} if row.global_ else {"region": scope.region}
        outputs = {**defaults, **echoed, **found, **region, "id": scope.id}
        if is_empty(outputs.get("tags")) and "tags" not in inputs:
            outputs.pop("tags", None)
        return without_empty(_with_inside(outputs, inside))

    def _run(self, scope: _Scope, action: Call | Hook, **more: Any) -> Any:
        if not isinstance(action, Call):
            extra = {f"${key}": value for key, value in more.items()}
            return action(dataclasses.replace(scope, props={**scope.props, **extra}))
        args = self._arguments(scope, action, more)
        try:
            answer = scope.call(action.operation, args, action.service)
        except ApiError as error:
            if action.optional and error.gone:
                return None
            raise
        return _search(action.path, answer) if action.path else answer

    def _arguments(
        self, scope: _Scope, call: Call, more: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        row = scope.row
        service = call.service or row.service
        shape = self._api.argument_shape(service, call.operation, scope.region)
        args: dict[str, Any] = {}
        if call.matching:
            for name in sorted((row.inputs - {"tags", "region"}) & scope.props.keys()):
                target = member(shape, row.names.get(name, name))
                if target and target not in call.args and not is_empty(scope.props[name]):
                    args[target] = to_api(shape.members[target], scope.props[name])
        for target, template in call.args.items():
            value = _filled(template, scope, more or {})
            if value is not None:
                member_shape = shape.members[target]
                args[target] = value if callable(template) else _coerced(member_shape, value)
        return args

    def _expected_id(self, row: Row, inputs: PropertyMap) -> str:
        scope = self._scope(row, "", inputs)
        if callable(row.id):
            return str(row.id(scope))
        if row.id:
            made = self._arguments(scope, row.create) if isinstance(row.create, Call) else {}
            id_ = _search(row.id, {"args": made, "out": {}, "props": inputs})
            if id_:
                return str(id_)
        raise ProviderError(
            f"Whether an interrupted creation of {row.label} succeeded cannot be told."
            " Look for it in the sandbox's cloud and import or delete it. Nothing was changed."
        )

    def _looks_like(self, type_: str, row: Row, id_: str, inputs: PropertyMap) -> bool:
        """Tell whether what is there could be made of these inputs, if only half-way."""
        found = self.read(type_, id_, inputs, {})
        return found is not None and all(
            _same_input(row, name, found.inputs, inputs)
            or (name in _set_later(row) and _same_input(row, name, found.inputs, {}))
            for name in row.inputs & inputs.keys() - {"region"}
        )


def _inside(row: Row, name: str, value: PropertyValue) -> PropertyMap:
    """Take from an input's value the parts that AWS adds."""
    if not isinstance(value, Mapping):
        return {}
    return {key: value[key] for key in row.inside[name] if key in value}


def _with_inside(properties: PropertyMap, inside: Mapping[str, PropertyMap]) -> PropertyMap:
    """Put the parts that AWS adds to inputs beside what the program gives of them."""
    added = {
        name: {**parts, **properties[name]}
        for name, parts in inside.items()
        if parts and isinstance(properties.get(name), Mapping)
    }
    return {**properties, **added}


def _same_input(row: Row, name: str, live: PropertyMap, wanted: PropertyMap) -> bool:
    return equal(_effective(row, live, name), _effective(row, wanted, name), name in row.ordered)


def _set_later(row: Row) -> frozenset[str]:
    """Name the inputs that a new thing does not have until after its creation."""
    later = {name for update in row.updates if update.after_create for name in update.on}
    if row.tags and not (row.tags.create or row.tags.specification or callable(row.create)):
        later.add("tags")
    return frozenset(later)


def _kind(change: Change, replaces: bool) -> DiffKind:
    kinds: Mapping[Change, DiffKind] = {
        "add": "add-replace",
        "delete": "delete-replace",
        "update": "update-replace",
    }
    return kinds[change] if replaces else change


def _row(type_: str) -> Row:
    row = ROWS.get(type_)
    if row is None:
        raise UnsupportedTypeError(
            f"The sandbox's engine has no row for {type_}, so it can neither create nor delete it."
            " Nothing was changed. Leave the resource out of the sandbox, or add a row to"
            " infra/sandbox/engine/drivers/rows."
        )
    return row


def _unsupported(type_: str, name: str, key: str) -> CheckFailure:
    return CheckFailure(
        "",
        f"the sandbox's engine cannot apply {key} of {type_}: its row does not know it."
        f" Examine values at '{name}.{key}'.",
    )


def _missing(name: str, key: str) -> CheckFailure:
    return CheckFailure(
        "",
        f'Missing required argument: The argument "{key}" is required, but no definition was'
        f" found. Examine values at '{name}.{key}'.",
    )


def _not_allowed(row: Row, name: str, inputs: PropertyMap) -> Iterator[CheckFailure]:
    for key, allowed in row.allowed.items():
        value = inputs.get(key)
        if isinstance(value, str) and value not in allowed:
            options = " ".join(f'"{option}"' for option in allowed)
            yield CheckFailure(
                "",
                f"expected {key} to be one of [{options}], got {value}."
                f" Examine values at '{name}.{key}'.",
            )


def _auto_name(row: Row, name: str, old: PropertyMap, inputs: PropertyMap) -> PropertyValue:
    assert row.name is not None
    kept = old.get(row.name.property)
    prefix = inputs.get(row.name_prefix) if row.name_prefix else None
    if not is_empty(kept) and (not prefix or str(kept).startswith(str(prefix))):
        return kept
    suffix = secrets.token_hex(4)[:7]
    if prefix is UNKNOWN:
        return UNKNOWN
    stem = str(prefix) if prefix else f"{row.name.prefix}{name}-"
    if row.name.lower:
        stem = stem.lower()
    return f"{stem[: row.name.limit - len(suffix)]}{suffix}"


def _keeps_name(property_: str, old: PropertyMap, new: PropertyMap) -> bool:
    """Tell whether a replacement would take the name that the old one still has.

    A made-up name is made anew for a replacement, so it is not in the way.
    """
    name = new.get(property_)
    return isinstance(name, str) and old.get(property_) == name and AUTO_NAMED.search(name) is None


def _effective(row: Row, inputs: PropertyMap, name: str) -> PropertyValue:
    value = inputs.get(name)
    return row.canon_of(name)(row.defaults.get(name) if is_empty(value) else value)


def _changed(row: Row, old: PropertyMap, new: PropertyMap) -> list[str]:
    """Name the inputs whose meaning differs; what AWS chose and the program left out does not."""
    chosen = {*row.computed, *row.unmanaged, "region"}
    return [
        name
        for name in sorted(row.inputs & {*old, *new})
        if not (name in chosen and is_empty(new.get(name)))
        and not equal(_effective(row, old, name), _effective(row, new, name), name in row.ordered)
    ]


def _paths(row: Row, name: str, old: PropertyMap, new: PropertyMap) -> Iterator[tuple[str, Change]]:
    before, after = old.get(name), new.get(name)
    if name in row.json or name in row.canon or is_empty(before) or is_empty(after):
        yield name, "add" if is_empty(before) else "delete" if is_empty(after) else "update"
        return
    found = list(changes(before, after, name, name in row.ordered))
    yield from found or [(name, "update")]


def _in_words_of(row: Row, name: str, given: PropertyValue, live: PropertyValue) -> PropertyValue:
    """Give the live value as the program wrote it, where both mean the same."""
    if is_empty(given) or contains_unknown(given):
        return live
    canon = row.canon_of(name)
    if type(given) is type(live) and equal(canon(live), canon(given), name in row.ordered):
        return given
    return project(live, given)


def _live_inputs(row: Row, found: PropertyMap, given: PropertyMap, importing: bool) -> PropertyMap:
    """Say which inputs would give what is there.

    Given inputs take their live values; others appear where they are set to something other than
    the default. For an import, which is given none, also what AWS would have chosen is told.
    """
    chosen = set() if importing else {*row.computed, *row.unmanaged}
    live: PropertyMap = {}
    for name in sorted(row.inputs):
        if name in row.local or name not in found:
            # What cannot be read is as it was given; what can and is not there is at its default.
            if name in given and (name in row.local or _same_input(row, name, given, {})):
                live[name] = given[name]
            continue
        default = row.canon_of(name)(row.defaults.get(name))
        value = found[name]
        unset = is_empty(value) or (default is None and value is False)
        usual = unset or equal(row.canon_of(name)(value), default, name in row.ordered)
        if name in given or not (usual or name in chosen):
            live[name] = value
    return live


def _own_tags(
    live: Mapping[str, str], default: Mapping[str, str], given: PropertyValue
) -> dict[str, str]:
    """Take a provider's default tags off the live ones, unless the program gives them itself."""
    named = given if isinstance(given, Mapping) else {}
    return {key: value for key, value in live.items() if key in named or default.get(key) != value}


def project_tags(live: dict[str, str], given: PropertyValue) -> dict[str, str]:
    """Give live tags in the order of the program's."""
    order = list(given) if isinstance(given, Mapping) else []
    rest = [key for key in live if key not in order]
    return {key: live[key] for key in [*order, *rest] if key in live}


def _tag_arguments(row: Row, tags: Mapping[str, str]) -> dict[str, Any]:
    tagging = row.tags
    assert tagging is not None
    formed = tags_to_api(tags, tagging.form)
    if tagging.specification:
        entry = {"ResourceType": tagging.specification, "Tags": formed}
        return {"TagSpecifications": [entry]}
    return {tagging.create: formed} if tagging.create else {}


def _filled(template: Any, scope: _Scope, more: Mapping[str, Any]) -> Any:
    """Fill in a template; what is not known comes to None."""
    if callable(template):
        return template(scope)
    if isinstance(template, str) and template.startswith("$"):
        return _variable(template[1:], scope, more)
    if isinstance(template, str) and template.startswith("="):
        return _search(template[1:], scope.props)
    if isinstance(template, Mapping):
        filled = {key: _filled(item, scope, more) for key, item in template.items()}
        return without_empty(filled) or None
    if isinstance(template, list):
        items = [_filled(item, scope, more) for item in template]
        return [item for item in items if item is not None] or None
    return template


def _variable(name: str, scope: _Scope, more: Mapping[str, Any]) -> Any:
    if name in more:
        return more[name]
    if name == "id":
        return scope.id
    if name == "account":
        return scope.account
    if name == "region":
        return scope.region
    if name.startswith("live."):
        return _search(name.removeprefix("live."), more.get("live") or {})
    value = scope.props.get(name)
    return None if is_empty(value) else value


def _coerced(shape: Any, value: Any) -> Any:
    """Fit a filled-in template to its argument: it is written in the API's own names."""
    if shape.type_name in {"structure", "list", "map"}:
        return to_api(shape, value)
    return to_api(shape, value) if isinstance(value, str | int | float) else value


def _expression(expression: str | Text | Hook, scope: _Scope, context: Mapping[str, Any]) -> Any:
    if isinstance(expression, Text):
        known = {**scope.props, "id": scope.id, "account": scope.account, "region": scope.region}
        return expression.format.format_map(known)
    if callable(expression):
        return expression(
            dataclasses.replace(scope, props={**scope.props, "$live": context["live"]})
        )
    value = _search(expression, context)
    return from_api(value) if isinstance(value, dict | list) else scalar_from_api(value)


def _search(expression: str, data: Any) -> Any:
    import jmespath

    return jmespath.search(expression, data)


def _title(row: Row, name: str, inputs: PropertyMap) -> str:
    """Name a resource in an error: as AWS knows it, else as the program does."""
    keys = (row.name.property if row.name else "", "name", "bucket", "repository")
    found = next((inputs[key] for key in keys if isinstance(inputs.get(key), str)), name)
    return str(found)


def _without_secrets(row: Row, props: PropertyMap, text: str) -> str:
    for key in row.secret:
        value = props.get(key)
        if isinstance(value, str) and value:
            text = text.replace(value, "[secret]")
    return text
