"""Commands that carry another: what that one may be."""

from __future__ import annotations

from quorate.kv.registry import COMMANDS, Arguments, Spec
from quorate.kv.replies import CommandError


def inner_write(arguments: Arguments, start: int) -> tuple[Spec, list[bytes]]:
    """The write that a command carries from ``start`` on. Raises what is wrong with it."""
    inner, outer = list(arguments[start:]), arguments[0].decode().upper()
    spec = COMMANDS.get(inner[0].upper())
    if spec is None or spec.internal or not spec.write:
        said = inner[0][:128].decode(errors="replace")
        raise CommandError(f"ERR {outer} is for writes, and '{said}' is none")
    if spec.name.decode() == outer:
        raise CommandError(f"ERR {outer} inside {outer}")
    inner[0] = spec.name
    spec.check_arguments(inner)
    return spec, inner
