"""What a check has to say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Severity(IntEnum):
    """How bad it is; its number is the exit code that it makes. 2 is left to commands that were called wrongly."""

    NOTE = 0
    """Nothing is wrong: something to know."""
    WARNING = 1
    """It works, and one more failure, or some time, may change that."""
    CRITICAL = 3
    """Something is not served, or what was acknowledged is in danger."""

    @property
    def word(self) -> str:
        """For people and for JSON."""
        return self.name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was found. ``mend`` is a command, or what else to do.

    What nobody but the reader knows stands in capitals there (``DIR``, ``HOST:PORT``): the rest can be pasted.
    """

    severity: Severity
    what: str
    cause: str
    mend: str


def size_text(count: int) -> str:
    """Bytes for people."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def names(values: list[str]) -> str:
    """Names in a sentence: a, b and c."""
    return " and ".join([", ".join(values[:-1]), values[-1]] if len(values) > 1 else values)
