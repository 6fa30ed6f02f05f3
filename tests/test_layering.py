"""Which room of the house may know which: read off the imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "quorate"

FOUNDATIONS = {"errors", "_version", "measures"}
ENGINE = {"machine", "node", *FOUNDATIONS, "config", "raft.roles"}
FACES = ("models", "kv", "tasks")
BELOW_OPS = {
    *FOUNDATIONS, "config", "config_mistakes", "logs", "records", "raft", "storage", "transport", "machine", "node",
    "rest", *FACES, "metrics", "web", "app", "effects", "embedded",
}  # fmt: skip

ALLOWED: dict[str, set[str]] = {
    "_version": set(),
    "errors": set(),
    "measures": set(),
    "config": {*FOUNDATIONS, "raft", "config_mistakes", "storage.settings", "logs"},
    "config_mistakes": {"errors"},
    "logs": {"errors"},
    "records": {*FOUNDATIONS, "raft"},
    "raft": {"errors"},
    "storage": {*FOUNDATIONS, "raft", "records"},
    "transport": {*FOUNDATIONS, "raft", "records"},
    "machine": {*FOUNDATIONS, "raft"},
    "node": {*FOUNDATIONS, "raft", "records", "config", "machine", "storage", "transport"},
    "rest": {*FOUNDATIONS, "node.reads"},
    **dict.fromkeys(FACES, ENGINE | {"rest"}),
    "app": {*ENGINE, *FACES},
    "notify": {"errors", "node"},
    "effects": {*ENGINE, *FACES, "rest"},
    "embedded": {*ENGINE, *FACES, "app", "effects", "storage", "transport"},
    "metrics": {*ENGINE, *FACES, "rest", "raft", "transport.contract"},
    "web": {*BELOW_OPS},
    "testing": {*BELOW_OPS},
    "ops": {*BELOW_OPS, "testing.linearizability"},
    "cli": {*BELOW_OPS, "notify", "ops", "testing"},
    "__main__": {"cli"},
}
"""What each room, or single file at the top, may import of ours, besides itself."""

ABOVE_THE_DOOR = {"testing", "ops", "cli"}
"""These may use the curated names of ``quorate`` itself, as any program does."""

OUTSIDE_WORLD = {
    "asyncio", "concurrent", "datetime", "io", "logging", "multiprocessing", "os", "pathlib", "select", "selectors",
    "signal", "socket", "ssl", "subprocess", "tempfile", "threading", "time", "uuid", "secrets",
}  # fmt: skip
"""What the core must not see: clocks, files, sockets, threads, logs, chance."""


def files() -> Iterator[Path]:
    return SOURCE.rglob("*.py")


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> Iterator[tuple[int, str, list[str]]]:
    """(line, module, names) of each import, wherever it stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, []
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            yield node.lineno, node.module or "", [alias.name for alias in node.names]


def may_import(room: str, module: str) -> bool:
    inside = module.removeprefix("quorate.")
    top = inside.partition(".")[0]
    return top == room or top in ALLOWED[room] or inside in ALLOWED[room]


def strangers(path: Path) -> Iterator[str]:
    room = room_of(path)
    for line, module, names in imports_of(path):
        if module == "quorate":
            if room in ABOVE_THE_DOOR:
                continue
            modules = [f"quorate.{name}" for name in names] or ["quorate"]
        elif module.startswith("quorate."):
            modules = [module]
        else:
            continue
        for each in modules:
            if not may_import(room, each):
                yield f"{path.relative_to(SOURCE)}:{line}: {room} may not import {each}"


def test_each_room_imports_only_what_is_below_it() -> None:
    known = [path for path in files() if room_of(path) != "__init__"]
    assert [problem for path in known for problem in strangers(path)] == []


def test_every_room_and_file_has_a_place_in_the_order() -> None:
    assert {room_of(path) for path in files()} - {"__init__"} <= set(ALLOWED)


def test_the_two_ways_to_the_keys_do_not_know_each_other_and_the_keys_know_neither() -> None:
    ways = ("server", "store")
    problems = []
    for path in (SOURCE / "kv").rglob("*.py"):
        here = path.relative_to(SOURCE / "kv").parts[0]
        if here == "reference.py":  # a page about all of them
            continue
        for line, module, _ in imports_of(path):
            problems += [
                f"{path.relative_to(SOURCE)}:{line}: {module}"
                for way in ways
                if way != here and f"{module}.".startswith(f"quorate.kv.{way}.")
            ]
    assert problems == []


def test_nothing_imports_the_command_line() -> None:
    importers = [
        f"{path.relative_to(SOURCE)}:{line}"
        for path in files()
        for line, module, _ in imports_of(path)
        if room_of(path) not in ("cli", "__main__") and (module == "quorate.cli" or module.startswith("quorate.cli."))
    ]
    assert importers == []


def test_the_core_is_sans_io() -> None:
    problems = []
    for path in (SOURCE / "raft").rglob("*.py"):
        for line, module, names in imports_of(path):
            if module.partition(".")[0] in OUTSIDE_WORLD or (module == "random" and names != ["Random"]):
                problems.append(f"{path.name}:{line}: {module}")
        calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
        made = [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id in {"Random", "open"}]
        problems += [f"{path.name}:{line}: makes what should be handed in" for line in made]
    assert problems == []


@pytest.mark.parametrize(
    ("room", "module", "allowed"),
    [
        ("raft", "quorate.errors", True),
        ("raft", "quorate.raft.log", True),
        ("raft", "quorate.config", False),
        ("storage", "quorate.transport.tcp", False),
        ("models", "quorate.raft.roles", True),
        ("models", "quorate.raft.core", False),
        ("models", "quorate.kv", False),
        ("tasks", "quorate.models.rest.refusals", False),
        ("tasks", "quorate.rest.http", True),
        ("rest", "quorate.models", False),
        ("rest", "quorate.node.node", False),
        ("testing", "quorate.cli.main", False),
    ],
)
def test_the_order_itself(room: str, module: str, allowed: bool) -> None:
    assert may_import(room, module) is allowed
