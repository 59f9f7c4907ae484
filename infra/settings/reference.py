"""The reference page of stack files, written from the model itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from infra.settings.describe import Kind, allowed, field_kind, kind_of
from infra.settings.model import Settings
from infra.settings.problems import SECTION

_HEAD = f"""# Settings

Every key of the object `{SECTION}` in `Pulumi.dev.yaml`, `Pulumi.uat.yaml` and
`Pulumi.prod.yaml`: the only place where environments differ. `ops settings check` reads a file
and tells everything that is wrong with it at once; so does every preview.

This page is what `infra.settings.reference()` writes from the model; a test compares the two.
"""


def reference() -> str:
    """Return the page in Markdown: every key, its meaning, what it may be and its default."""
    return "\n".join([_HEAD, *_sections(Settings, "")])


def _sections(model: type[BaseModel], path: str) -> Iterator[str]:
    fields = {
        name: field
        for name, field in model.model_fields.items()
        if not (model is Settings and name == "environment")
    }
    yield f"## `{path}`" if path else "## The settings object"
    yield ""
    if path:
        yield f"{(model.__doc__ or '').strip()}"
        yield ""
    yield "| key | meaning | allowed | default |"
    yield "|---|---|---|---|"
    for name, field in fields.items():
        yield _row(name, field)
    yield ""
    for name, field in fields.items():
        inner, suffix = _inner(field_kind(field))
        if inner is not None:
            yield from _sections(inner, f"{path}.{name}{suffix}".lstrip("."))


def _inner(kind: Kind) -> tuple[type[BaseModel] | None, str]:
    if kind.is_list:
        return kind_of(kind.arguments[0]).model, "[]"
    return kind.model, ""


def _row(name: str, field: FieldInfo) -> str:
    inner, suffix = _inner(field_kind(field))
    if inner is None:
        may_be = allowed(field_kind(field))
    else:
        may_be = "a list of objects, below" if suffix else "an object, below"
    cells = (f"`{name}`", field.description or "", may_be, _default(field))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    match value:
        case None:
            return "absent"
        case bool():
            return f"`{str(value).lower()}`"
        case BaseModel():
            return "its keys' defaults"
        case tuple():
            return f"`[{', '.join(map(str, value))}]`"
        case Mapping():
            return "`{}`"
        case "":
            return "empty"
        case _:
            return f"`{value}`"
