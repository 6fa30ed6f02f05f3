"""A2.13-A2.20: attributes that contradict each other fail when the class is made, and name the field."""

from __future__ import annotations

import pytest

from quorate.errors import ConfigError

from .test_declaration import declare

KEY = "id: UUID = field(primary_key=True"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("x: UUID = field(foreign_key=Category, on_delete='set_null')", "on_delete='set_null' needs a field that can"),
        (
            "x: UUID | None = field(default=None, foreign_key=Category, on_delete='set_null', immutable=True)",
            "on_delete='set_null' would change a field that is immutable",
        ),
        ("x: int = field(on_delete='cascade')", "on_delete='cascade' needs a foreign_key"),
        ("x: int = field(foreign_key='self')", "its type is int, but the primary key is uuid"),
        ("x: str = field(retention=timedelta(days=1))", "retention is for how long changes are kept"),
        ("x: str = field(audited=True, retention=timedelta(0))", "retention=datetime.timedelta(0) should be"),
        ("x: str = field(audited=True, retention=timedelta(days=-1))", "retention=datetime.timedelta(days=-1) should"),
        ("x: str = field(audited=True, retention=90)", "retention=90 should be a timedelta"),
        ("x: str = field(auto_persist=False)", "auto_persist=False: a write is on disk before"),
        (
            "x: str = field(default='', auto_persist=True, memory_only=True)",
            "auto_persist=True and memory_only=True exclude",
        ),
        ("x: str = field(replicate=False)", "replicate=False needs a default"),
        ("x: str | None = field(memory_only=True)", "memory_only=True needs a default"),
    ],
)
def test_a_contradiction_is_refused_by_name(body: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        declare(body)
    assert str(error.value).startswith(f"Thing.x: {message}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("local", ["replicate=False", "memory_only=True"])
@pytest.mark.parametrize(
    "attribute",
    ["unique", "indexed", "immutable", "audited", "track_history", "consistent_read"],
)
def test_what_needs_all_nodes_cannot_be_had_for_a_value_of_one(attribute: str, local: str) -> None:
    with pytest.raises(ConfigError, match=rf"Thing.x: {attribute} needs a value that all nodes agree on.*{local}"):
        declare(f"x: int = field(default=0, {attribute}=True, {local})")


def test_neither_keys_nor_references_are_local() -> None:
    with pytest.raises(ConfigError, match=r"Thing.id: primary_key needs a value that all nodes agree on"):
        declare(f"{KEY}, replicate=False)", key=False)
    with pytest.raises(ConfigError, match=r"Thing.x: foreign_key needs a value that all nodes agree on"):
        declare("x: UUID | None = field(default=None, foreign_key=Category, memory_only=True)")


def test_a_primary_key_cannot_be_hidden() -> None:
    with pytest.raises(ConfigError, match=r"Thing.id: a primary key cannot be hidden"):
        declare(f"{KEY}, expose=False)", key=False)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ("[('a', 'z')]", "Thing.z: unique_together names it, but there is no such field"),
        ("[('a', 'id')]", "Thing.id: unique by itself"),
        ("[('a', 'u')]", "Thing.u: unique by itself"),
        ("[('a', 'j')]", "Thing.j: unique_together needs a single value"),
        ("[('a', 'l')]", "Thing.l: not replicated"),
        ("[('a',)]", r"Thing: unique_together=\('a',\) should name two or more fields"),
        ("['ab']", "Thing: unique_together='ab' should name two or more fields"),
        ("'ab'", "Thing: unique_together='ab' should be a list of groups"),
        ("[('a', 'b'), ('b', 'a')]", "names something twice"),
        ("[('a', 'a')]", "names something twice"),
    ],
)
def test_a_group_of_unique_fields_has_to_make_sense(groups: str, message: str) -> None:
    fields = """a: int
b: int
u: int = field(unique=True)
j: list[int]
l: int = field(default=0, replicate=False)"""
    with pytest.raises(ConfigError, match=message):
        declare(fields, head=f"class Thing(Model, unique_together={groups}):")


@pytest.mark.parametrize(
    "body",
    [
        "x: list[int] = field(audited=True)",
        "x: int = field(default=0, memory_only=True, auto_persist=False)",
        "x: int = field(auto_persist=True)",
        "x: str = field(immutable=True, default='')",
        "x: int = field(default=0, replicate=False, expose=False)",
    ],
)
def test_what_is_no_contradiction_is_allowed(body: str) -> None:
    declare(body)
