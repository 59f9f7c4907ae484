"""Settings for one update: the stack's own file is read and never written."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from infra import naming

if TYPE_CHECKING:
    from ops.access import Access

Edits = Mapping[str, str | int]
"""Path under `settings`, such as `databases[0].identifier` → value."""

_SETTINGS: Final = f"{naming.PROJECT}:settings"


@contextmanager
def configuration(access: Access, edits: Edits) -> Iterator[Path]:
    """Give a file with the stack's configuration and these settings over it, for a while."""
    if access.mode == "sandbox":
        from ops.sandbox import configuration_file

        over = {f"settings.{path}": value for path, value in edits.items()}
        with configuration_file(access, over) as file:
            yield file
        return
    source = (access.root / naming.stack_file(access.environment)).read_text(encoding="utf-8")
    access.records.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=access.records, suffix=".yaml")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file_:
            file_.write(edited(source, edits))
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def edited(text: str, edits: Edits) -> str:
    """Give a stack file's text with these settings."""
    import yaml

    document = yaml.safe_load(text)
    settings = document["config"][_SETTINGS]
    for path, value in edits.items():
        node: Any = settings
        *above, last = _parts(path)
        for part in above:
            node = node[part]
        node[last] = value
    return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))


def _parts(path: str) -> list[str | int]:
    found = re.findall(r"([A-Za-z_]+)|\[(\d+)\]", path)
    return [name or int(number) for name, number in found]
