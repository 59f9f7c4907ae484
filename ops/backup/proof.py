"""What the last rehearsal of a backup has shown: it lies beside the backup and is told with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import TypeAdapter, ValidationError

Contents = Literal["equal", "different", "unknown"]
"""`unknown`: something of it could not be looked at."""


@dataclass(frozen=True, kw_only=True)
class Proof:
    """How a rehearsal ended."""

    at: str
    run: str
    result: Literal["proven", "failed"]
    databases: tuple[str, ...]
    """Those that were to be restored onto copies, as settings call them."""
    left_out: tuple[str, ...]
    """Those of the backup that nobody asked for: nothing is known of them."""
    contents: Contents
    failed: tuple[str, ...] = ()
    """The checks that failed."""
    unknown: tuple[str, ...] = ()
    """The checks that could not be made."""
    uncompared: Mapping[str, str]
    """Database and table → why its rows were not compared."""
    recovery_point: str
    """The oldest of the moments that a restore brings back."""
    recovery_seconds: float | None
    """Until all of the databases were available; None: one never was."""
    paused: bool
    """Whether that includes a time in which nobody waited: the run was resumed."""
    checks: Mapping[str, str]
    """Check → what was found."""

    @property
    def whole(self) -> bool:
        """Tell whether the backup as a whole is proven."""
        return self.result == "proven" and not self.left_out

    def supersedes(self, former: Proof | None) -> bool:
        """Tell whether this is to be kept in the place of a former one.

        What failed always is. What went well takes the place only of what it covers: neither does a
        rehearsal of one database hide what became of another, nor one that could not look into the
        tables what one has seen that could.
        """
        if former is None or self.result == "failed":
            return True
        covers = set(former.databases) <= set(self.databases)
        return covers and (self.contents == "equal" or former.contents == "unknown")

    @property
    def said(self) -> str:
        """Say it in a line."""
        if self.result == "failed":
            return f"restore FAILED {self.at}: {', '.join(self.failed)}"
        which = f" of {', '.join(self.databases)} alone" if self.left_out else ""
        contents = f"contents {self.contents}"
        if self.unknown:
            contents += f" ({', '.join(self.unknown)})"
        elif self.uncompared:
            contents += f" but for {len(self.uncompared)} tables that were not compared"
        return f"restore{which} proven {self.at}, {contents}"

    def to_bytes(self) -> bytes:
        """Give it as it is written."""
        return _FORM.dump_json(self, indent=2) + b"\n"


def parse(content: bytes) -> Proof | None:
    """Read a proof; what cannot be read proves nothing."""
    try:
        return _FORM.validate_json(content)
    except ValidationError:
        return None


_FORM: Final = TypeAdapter(Proof)
