"""The list of commands for people, from their declarations: ``python -m quorate.kv.reference docs/kv.md`` renews it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import quorate.kv.server.service  # noqa: F401 (declares the commands on connections)
from quorate.kv.server.catalog import catalog

BEGIN, END = "<!-- commands: begin -->", "<!-- commands: end -->"
_OURS = "QUORATE."


def reference() -> str:
    """All commands that clients may send, in Markdown, by groups."""
    groups: dict[str, list[tuple[str, str, str]]] = {}
    listed = catalog()
    for command in listed.values():
        kind = "write" if "write" in command.flags else "read" if "readonly" in command.flags else ""
        groups.setdefault(command.group, []).append((command.name.decode(), kind, command.summary))
    tables = "\n\n".join("\n".join(_table(group, sorted(groups[group]))) for group in sorted(groups))
    return f"{len(listed)} commands.\n\n{tables}\n"


def _table(group: str, rows: list[tuple[str, str, str]]) -> Iterator[str]:
    yield f"### {group.capitalize()}\n"
    yield "| command | | |"
    yield "|---|---|---|"
    for name, kind, summary in rows:
        yield f"| {_linked(name)} | {kind} | {summary.replace('|', '/')} |"


def _linked(name: str) -> str:
    if name.startswith(_OURS):
        return f"`{name}`"
    return f"[`{name}`](https://redis.io/docs/latest/commands/{name.lower()}/)"


def renewed(text: str) -> str:
    """A page with the list between its markers as it should be."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{reference()}\n{END}{tail}"


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(renewed(page.read_text()))
