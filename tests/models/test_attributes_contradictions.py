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
        # A2.20 auto_persist: everything is, and says so
        ("x: str = field(auto_persist=False)", "auto_persist=False: a write is on disk before"),
        (
            "x: str = field(default='', auto_persist=True, memory_only=True)",
            "auto_persist=True and memory_only=True exclude",
        ),
        ("x: str = field(replicate=False)", "replicate=False needs a default"),
        ("x: str | None = field(memory_only=True)", "memory_only=True needs a default"),
        ("x: int = field(audited=True, retention=timedelta(days=999_999_999))", "retention=datetime.timedelta(days=9"),
        # limits that no value meets
        ("x: int = field(ge=5, le=3)", "ge=5 and le=3: there is no value within both"),
        ("x: int = field(gt=5, lt=6)", "gt=5 and lt=6: there is no value within both"),
        ("x: int | None = field(default=None, ge=5, le=3)", "ge=5 and le=3: there is no value within both"),
        ("x: float = field(ge=5, lt=5)", "ge=5 and lt=5: there is no value within both"),
        ("x: float = field(gt=5, le=5)", "gt=5 and le=5: there is no value within both"),
        ("x: Decimal = field(ge='5', le='3')", "ge=5 and le=3: there is no value within both"),
        ("x: Decimal = field(gt='1.00', lt='1.01', decimal_places=2)", "gt=1.00 and lt=1.01: there is no value within"),
        ("x: Decimal = field(max_digits=2, ge='1000')", "ge=1000 and lt=100: there is no value within both"),
        ("x: Decimal = field(max_digits=3, decimal_places=2, le='-10')", "gt=-10 and le=-10: there is no value within"),
        ("x: int = field(ge=1, le=3, multiple_of=5)", "ge=1 and le=3: there is no value within both"),
        ("x: int = field(gt=5, lt=10, multiple_of=5)", "gt=5 and lt=10: there is no value within both"),
        (
            "x: int = field(ge=2**63)",
            "ge=9223372036854775808 and le=9223372036854775807: there is no value within both",
        ),
        ("x: int = field(validate=['min_value(5)', 'max_value(3)'])", "ge=5 and le=3: there is no value within both"),
        ("x: int = field(validate='min_value(5)', le=3)", "ge=5 and le=3: there is no value within both"),
        ("x: Annotated[int, Field(ge=5)] = field(le=3)", "ge=5 and le=3: there is no value within both"),
        ("x: date = field(ge=date(2020, 1, 1), le=date(2019, 1, 1))", "ge=2020-01-01 and le=2019-01-01: there is no"),
        ("x: date = field(gt=date(2020, 1, 1), lt=date(2020, 1, 1))", "gt=2020-01-01 and lt=2020-01-01: there is no"),
        ("x: datetime = field(ge=datetime(2020, 1, 1), le=datetime.now(UTC))", "ge=2020-01-01 00:00:00 and le="),
        ("x: float = field(ge=float('nan'))", "ge=NaN should be finite"),
        ("x: float = field(le=float('inf'))", "le=Infinity should be finite"),
        ("x: int = field(ge='a')", "ValueError: 'ge' must be coercible to an integer"),
        ("x: int = field(multiple_of=0)", "ValueError: 'multiple_of' must be a finite number greater than 0"),
        ("x: str = field(min_length=5, max_length=3)", "min_length=5 and max_length=3: there is no value within both"),
        ("x: list[int] = field(min_length=5, max_length=3)", "min_length=5 and max_length=3: there is no value"),
        ("x: str = field(validate=['length(5)', 'length(,3)'])", "min_length=5 and max_length=3: there is no value"),
        ("x: str = field(validate='non_empty', max_length=0)", "min_length=1 and max_length=0: there is no value"),
        ("x: str = field(min_length=-1)", "min_length=-1 should be a whole number from 0"),
        ("x: str = field(max_length=1.5)", "max_length=1.5 should be a whole number from 0"),
        ("x: Decimal = field(max_digits=0)", "max_digits=0 should be a whole number from 1"),
        ("x: Decimal = field(decimal_places=-1)", "decimal_places=-1 should be a whole number from 0"),
        ("x: Decimal = field(max_digits=2, decimal_places=3)", "decimal_places=3 are more than max_digits=2 allows"),
        ("x: str = field(validate=['email', 'url'])", "nothing is email and url at once"),
        ("x: str = field(pattern='(')", "error: unclosed group"),
        ("x: str = field(validate='regex(a(?=b))')", "error: look-around"),
        # a default that is no value
        ("x: int = field(default=0, ge=1)", "default=0: Input should be greater than or equal to 1"),
        ("x: str = field(default='', validate='non_empty')", "default='': String should have at least 1 character"),
        ("x: str = field(default='x', validate=['email'])", "default='x': Input should be an email address"),
        ("x: str = field(default='x', validate='regex(^a)')", "default='x': String should match pattern"),
        ("x: Colour = field(default='blue')", "default='blue': Input should be 'red'"),
        ("x: Literal['red'] = 'blue'", "default='blue': Input should be 'red'"),
        ("x: int = None", "default=None: Input should be a valid integer"),
        ("x: Decimal = field(default='0.001', decimal_places=2)", "default='0.001': Decimal input should have no more"),
        ("x: int = field(default=0, ge=1, memory_only=True)", "default=0: Input should be greater than or equal to 1"),
        # what the type rules out
        ("x: list[int] = field(unique=True)", "unique needs a single value"),
        ("x: dict[str, int] = field(default={}, indexed=True)", "indexed needs a single value"),
        ("x: str = field(foreign_key=Category)", "its type is str, but the primary key of Category is uuid"),
        ("x: list[UUID] = field(foreign_key=Category)", "its type is json, but the primary key of Category is uuid"),
        ("x: None = None", "the type NoneType is not supported"),
        ("x: ClassVar[int] = field(unique=True)", "a ClassVar belongs to the class and is no field"),
        # what is neither yes nor no
        ("x: int = field(unique='no')", "unique='no' should be True or False"),
        ("x: int = field(expose=0)", "expose=0 should be True or False"),
        ("x: int = field(default=0, memory_only=True, auto_persist='')", "auto_persist='' should be True or False"),
        ("x: int = field(validate=None)", "validate=None: known validators are"),
        ("x: int = field(validate=5)", "validate=5: known validators are"),
        ("x: int = field(on_delete=None)", "on_delete=None should be one of restrict, cascade, set_null"),
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


@pytest.mark.parametrize(
    "kind",
    [
        "Decimal",
        "float",
        "bool",
        "bytes",
        "date",
        "datetime",
        "list[int]",
        "dict[str, int]",
        "Any",
        "Colour",
        "int | None",
    ],
)
def test_a_primary_key_is_of_a_type_that_stands_in_urls(kind: str) -> None:
    """A1.38 primary_key."""
    with pytest.raises(ConfigError, match=r"^Thing.id: a primary key is of type UUID, str or int and never None"):
        declare(f"id: {kind} = field(primary_key=True)", key=False)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("id: int = field(primary_key=True, default=1)", "a primary key cannot have a default"),
        ("id: UUID = field(primary_key=True, foreign_key=Category)", "a primary key cannot be a foreign key"),
        ("id: int = field(primary_key=True, on_delete='cascade')", "on_delete='cascade' needs a foreign_key"),
        ("id: int = field(primary_key=True, retention=timedelta(1))", "retention is for how long changes are kept"),
        ("id: int = field(primary_key=True, ge=2, le=1)", "ge=2 and le=1: there is no value within both"),
    ],
)
def test_a_primary_key_identifies_and_does_nothing_else(body: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        declare(body, key=False)
    assert str(error.value).startswith(f"Thing.id: {message}")


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
        "x: int = field(ge=5, le=5)",
        "x: int = field(gt=5, lt=7)",
        "x: float = field(gt=5, lt=6)",
        "x: int = field(ge=1, le=5, multiple_of=5)",
        "x: Decimal = field(ge='0.01', max_digits=2, decimal_places=2)",
        "x: int = field(ge=-2**63, le=2**63 - 1)",
        "x: str = field(min_length=3, max_length=3)",
        "x: str = field(validate=['email', 'length(,40)', 'regex(@)'])",
        "x: date = field(ge=date(2020, 1, 1), le=date(2020, 1, 1))",
        "x: UUID | None = field(default=None, foreign_key=Category, on_delete='set_null', unique=True)",
        "x: UUID = field(foreign_key=Category, on_delete='cascade', immutable=True)",
        "x: str = field(unique=True, expose=False)",
        "x: str = field(immutable=True, audited=True)",
        "x: Colour = field(default='red')",
    ],
)
def test_what_is_no_contradiction_is_allowed(body: str) -> None:
    declare(body)
