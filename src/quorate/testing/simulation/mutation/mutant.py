"""What a mutant is: a slip in our own code, as its file says it."""

from __future__ import annotations

import ast
from dataclasses import replace
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, TypeVar

import msgspec

import quorate
from quorate.testing.simulation.swarm import draw

T = TypeVar("T")

PACKAGE = Path(quorate.__file__).parent
LINES_MAX = 3
"""A slip changes no more lines than this."""


class RottenMutant(Exception):
    """A mutant that cannot be used (any more): the code has changed, or it says nothing that can be run."""


class Mutant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way to break the code. ``file`` is below the package, ``before`` is in it exactly once."""

    bug: str
    source: str
    """Where it is known from: a rule of the paper that it breaks, a real system that had it."""
    file: str
    before: str
    after: str
    seeds: int
    """Within so many it has to be found."""
    start: int = 0
    """The first of them."""
    plan: str = ""
    """Which of ``plans/*.toml`` says what is not left to the seed; without one, everything is."""
    name: str = ""
    """That of its file."""
    fixed: dict[str, Any] = {}
    """What its plan says: fields of :class:`~quorate.testing.simulation.swarm.Plan`, or of a part of it."""

    def applied_to(self, text: str) -> str:
        """The text of the file with the bug in it. Raises :class:`RottenMutant`."""
        occurs = text.count(self.before)
        if occurs != 1:
            raise RottenMutant(f"{self.name}: its text occurs {occurs} times in {self.file}, not once")
        changed = text.replace(self.before, self.after)
        pieces = SequenceMatcher(None, text.splitlines(), changed.splitlines(), autojunk=False).get_opcodes()
        lines = sum(max(j - i, n - m) for kind, i, j, m, n in pieces if kind != "equal")
        if not 0 < lines <= LINES_MAX:
            raise RottenMutant(f"{self.name}: it changes {lines} lines; one is best, {LINES_MAX} are the most")
        try:
            ast.parse(changed)
        except SyntaxError as error:
            raise RottenMutant(f"{self.name}: {self.file} is no Python any more: {error}") from error
        return changed


def load_mutants(folder: Path, package: Path = PACKAGE) -> list[Mutant]:
    """All mutants in ``folder``, each of which applies to ``package``. Raises :class:`RottenMutant`."""
    mutants = []
    for path in sorted(folder.glob("*.toml")):
        try:
            mutant = msgspec.toml.decode(path.read_bytes(), type=Mutant)
            plan = folder / "plans" / f"{mutant.plan}.toml"
            fixed = msgspec.toml.decode(plan.read_bytes(), type=dict[str, Any]) if mutant.plan else {}
            replaced(draw(0), fixed)
        except (msgspec.MsgspecError, OSError, TypeError, AttributeError) as error:
            raise RottenMutant(f"{path.stem}: {error}") from error
        mutant = msgspec.structs.replace(mutant, name=path.stem, fixed=fixed)
        if not (package / mutant.file).is_file():
            raise RottenMutant(f"{mutant.name}: there is no file {mutant.file}")
        mutant.applied_to((package / mutant.file).read_text())
        mutants.append(mutant)
    return mutants


def replaced(drawn: T, changes: dict[str, Any]) -> T:
    """A plan, or a part of one, with other values in it, given as TOML has them."""
    values = {}
    for name, value in changes.items():
        if isinstance(value, dict):
            value = replaced(getattr(drawn, name), value)
        values[name] = tuple(value) if isinstance(value, list) else value
    return replace(drawn, **values)  # type: ignore[type-var]
