"""Limits, validators, events' code: nodes that differ in them do not look alike, nor do they apply the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from pydantic import AfterValidator, BaseModel, Field, field_validator, model_validator
from typing_extensions import TypedDict

from quorate import App, Model, event, field
from quorate.models import rules
from quorate.models.commands import Call, Create, Declare, MergePatch, Operation, Patch
from quorate.models.errors import RuleBroken, SchemaAhead
from quorate.models.model import schema_of
from quorate.models.store.forms import read_declaration

from .evolving import EvolvingNode


def one() -> type[Model]:
    class Item(Model):
        id: int = field(primary_key=True)
        name: str = ""
        stock: int = field(default=0, ge=0, validate="max_value(100)")
        price: Decimal = field(default=Decimal(1), ge="0.01", decimal_places=2)
        mail: str | None = field(default=None, validate="email")

        @event
        def sold(self, count: int) -> None:
            self.stock -= count

        @event
        def renamed(self, name: str) -> None:
            self.name = name

        @field_validator("name")
        @classmethod
        def _plain(cls, value: str) -> str:
            return value.strip()

    return Item


def the_same() -> type[Model]:
    class Item(Model):
        """Words are no rules."""

        id: int = field(primary_key=True, description="its number")
        name: str = field(default="")
        stock: int = field(default=0, ge=0, validate="max_value(100)", title="Stock", examples=[3])
        price: Decimal = field(default=Decimal(1), ge="0.01", decimal_places=2)
        mail: str | None = field(default=None, validate="email")

        @field_validator("name")
        @classmethod
        def _plain(cls, value: str) -> str:
            """Without what surrounds it."""
            return value.strip()

        @event
        def renamed(self, name: str) -> None:
            self.name = name  # at once

        @event
        def sold(self, count: int) -> None:
            """So many less."""

            self.stock -= (
                count
            )  # fmt: skip

    return Item


def another() -> type[Model]:
    """Differs in the code of an event alone."""

    class Item(Model):
        id: int = field(primary_key=True)
        name: str = ""
        stock: int = field(default=0, ge=0, validate="max_value(100)")
        price: Decimal = field(default=Decimal(1), ge="0.01", decimal_places=2)
        mail: str | None = field(default=None, validate="email")

        @event
        def sold(self, count: int) -> None:
            self.stock -= 2 * count

        @event
        def renamed(self, name: str) -> None:
            self.name = name

        @field_validator("name")
        @classmethod
        def _plain(cls, value: str) -> str:
            return value.strip()

    return Item


def test_digests_are_the_same_wherever_they_are_made() -> None:
    """What stands here is in the logs of clusters. Another version of Python or pydantic must find the same."""
    assert schema_of(one()).rules == {
        "stock": "017e656faf5c7d16",
        "price": "4112d21f0a79ebcc",
        "mail": "590166ffd9d0a0b0",
        "_plain": "e919b7a0b624435b",
        "sold": "22b3a7694624ec21",
        "renamed": "17b330969d789e36",
    }


def test_what_is_derived_has_the_rules_of_what_it_is_derived_from() -> None:
    class Item(one()):  # type: ignore[misc]
        more: int = 0

    class More(Item):
        pass

    assert schema_of(More).rules == schema_of(Item).rules == schema_of(one()).rules
    assert "maximum" in Item.model_json_schema()["properties"]["stock"]


def test_layout_and_words_do_not_count() -> None:
    assert schema_of(one()).rules == schema_of(the_same()).rules
    assert App(models=[one()]).schema_fingerprint == App(models=[the_same()]).schema_fingerprint


class Colour(Enum):
    RED = "red"


class OtherColour(Enum):
    RED = "red"
    BLUE = "blue"


class Part(BaseModel):
    size: int = Field(ge=1)


class OtherPart(BaseModel):
    size: int = Field(ge=2)


OtherPart.__name__ = "Part"


class Pair(TypedDict):
    left: int


class OtherPair(TypedDict):
    left: Annotated[int, Field(ge=1)]


OtherPair.__name__ = "Pair"


def _even(value: int) -> int:
    if value % 2:
        raise ValueError("odd")
    return value


def declared(annotation: Any, **attributes: Any) -> Model:
    namespace = {
        "__annotations__": {"id": int, "x": annotation},
        "id": field(primary_key=True),
        "x": field(**attributes),
        "__module__": __name__,
    }
    return type(Model)("Thing", (Model,), namespace)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((int, {"ge": 0}), (int, {"ge": 1})),
        ((int, {"ge": 0}), (int, {"gt": 0})),
        ((int, {}), (int, {"le": 0})),
        ((int, {}), (int, {"strict": True})),
        ((int, {}), (int, {"multiple_of": 2})),
        ((str, {"max_length": 3}), (str, {"max_length": 4})),
        ((str, {"pattern": "a"}), (str, {"pattern": "b"})),
        ((str, {"validate": "regex(a)"}), (str, {"validate": "regex(b)"})),
        ((str, {"validate": "email"}), (str, {"validate": "url"})),
        ((str, {}), (str, {"validate": "non_empty"})),
        ((int, {"validate": "range(1,2)"}), (int, {"validate": "range(1,3)"})),
        ((Decimal, {"max_digits": 4}), (Decimal, {"max_digits": 5})),
        ((Literal["a"], {}), (Literal["a", "b"], {})),
        ((Colour, {}), (OtherColour, {})),
        ((list[int], {}), (list[Annotated[int, Field(ge=0)]], {})),
        ((list[int], {"min_length": 1}), (list[int], {})),
        ((dict[str, int], {}), (dict[str, str], {})),
        ((Part, {}), (OtherPart, {})),
        ((Pair, {}), (OtherPair, {})),
        ((int, {}), (Annotated[int, AfterValidator(_even)], {})),
        ((int, {"replicate": False, "default": 0, "ge": 0}), (int, {"replicate": False, "default": 0})),
    ],
)
def test_every_kind_of_limit_counts(first: Any, second: Any) -> None:
    models = [declared(annotation, **attributes) for annotation, attributes in (first, second)]
    found = [schema_of(model).rules.get("x") for model in models]  # type: ignore[arg-type]
    assert found[0] != found[1]
    assert len({App(models=[model]).schema_fingerprint for model in models}) == 2  # type: ignore[list-item]


def _within(value: int, limits: frozenset[str], *, most: int) -> int:
    return min(value, most)


class _Rounded:
    """A validator that is an object, as good as without anything in it."""

    __slots__ = ()

    def __call__(self, value: int) -> int:
        return value


@pytest.mark.parametrize(
    "validator",
    [
        lambda: partial(_within, limits=frozenset("abcdef"), most=3),
        lambda: partial(partial(_within, limits=frozenset()), most=Colour.RED),
        _Rounded,
        lambda: str.strip,
    ],
    ids=["set", "partial of a partial", "object", "built in"],
)
def test_nothing_of_this_process_is_in_a_digest(validator: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as an address."""
    texts: list[str] = []
    original = rules._digest

    def digest(rule: Any) -> str:
        texts.append(json.dumps(rule))
        return original(rule)

    monkeypatch.setattr(rules, "_digest", digest)
    models = [declared(Annotated[int, AfterValidator(validator())]) for _ in range(2)]
    found = [rules.digests_of(model, ())["x"] for model in models]  # type: ignore[arg-type]
    assert found[0] == found[1]
    assert "0x" not in texts[0]


SET = "from quorate.models.rules import _of; print(_of(frozenset('abcdefgh')))"


def test_sets_have_an_order_that_is_not_that_of_this_process() -> None:
    printed = {
        subprocess.run(
            [sys.executable, "-c", SET], env={**os.environ, "PYTHONHASHSEED": seed}, stdout=subprocess.PIPE, check=True
        ).stdout
        for seed in "12"
    }
    assert printed == {str(list("abcdefgh")).encode() + b"\n"}


def test_validators_events_and_the_configuration_count() -> None:
    class Plain(Model):
        id: int = field(primary_key=True)
        x: int = 0

    class Event(Plain):
        @event
        def added(self, count: int) -> None:
            self.x += count

    class Defaulted(Plain):
        @event
        def added(self, count: int = 1) -> None:
            self.x += count

    class Validated(Plain):
        @field_validator("x")
        @classmethod
        def _even(cls, value: int) -> int:
            return _even(value)

    class Whole(Plain):
        @model_validator(mode="after")
        def _fits(self) -> Whole:
            return self

    class Behind(Plain):
        def model_post_init(self, context: Any) -> None:
            assert self.x >= 0

    class Strict(Plain, strict=True):
        pass

    found = [schema_of(each).rules for each in (Plain, Event, Defaulted, Validated, Whole, Behind, Strict)]
    assert [list(each) for each in found] == [
        [], ["added"], ["added"], ["_even"], ["_fits"], ["model_post_init"], ["model_config"],
    ]  # fmt: skip
    assert found[1] != found[2]


# -- what follows from it ------------------------------------------------------------------------------------


def looser() -> type[Model]:
    class Item(one()):  # type: ignore[misc]
        stock: int = field(default=0)

    return Item


CALL = Call("Item", 1, "sold", '{"count": 1}')
OTHER_CALL = Call("Item", 1, "renamed", '{"name": "Oak"}')
MERGE = MergePatch("Item", 1, '{"name": "Oak"}')
PLAIN = Patch("Item", 1, ("name",), ("Oak",))


def begun(path: Path, first: App, second: App) -> EvolvingNode:
    """A node with the second app, on a log where the first is in force."""
    node = EvolvingNode(path, first)
    node.accept(node.declaration(), node.change(Create("Item", ("id", "stock"), [(1, 5)])))
    node.restart(second)
    return node


@pytest.mark.parametrize(
    ("other", "differing", "refused", "accepted"),
    [
        (another, ["Item.sold"], [CALL], [OTHER_CALL, MERGE, PLAIN]),
        (looser, ["Item.stock"], [CALL, OTHER_CALL, MERGE], [PLAIN]),
        (the_same, [], [], [CALL, OTHER_CALL, MERGE, PLAIN]),
    ],
)
def test_a_node_does_not_guess_what_other_rules_make_of_a_request(
    tmp_path: Path,
    other: Callable[[], type[Model]],
    differing: list[str],
    refused: list[Operation],
    accepted: list[Operation],
) -> None:
    """Both ways: a node that is ahead of what is in force, and one that is behind it."""
    apps = App(models=[one()]), App(models=[other()])
    for number, (first, second) in enumerate((apps, apps[::-1])):
        path = tmp_path / str(number)
        node = begun(path, first, second)
        declarations = node.machine.declarations
        assert declarations.differing_rules == differing
        assert declarations.are_in_force is not bool(differing)
        for operation in accepted:
            node.accept(node.change(operation))
        for operation in refused:
            with pytest.raises(SchemaAhead, match=rf"^{differing[0]}: not as declared by the version"):
                node.apply(node.change(operation))
            node.restart(second)
        node.restart(first)
        node.accept(*[node.change(operation) for operation in refused])
        node.close()


def test_other_rules_come_into_force_by_the_log_and_leave_the_tables_alone(tmp_path: Path) -> None:
    node = begun(tmp_path / "db", App(models=[one()]), App(models=[another()]))
    before = node.rows("Item")
    assert not node.machine.is_waiting, "the tables can be read meanwhile"
    node.accept(node.declaration())
    assert node.machine.declarations.are_in_force
    assert node.machine.declarations.differing_rules == []
    assert node.rows("Item") == before
    node.accept(node.change(CALL))
    assert node.rows("Item")[0]["stock"] == 3
    node.close()


def coloured(*, later: bool) -> App:
    """The later version has fewer colours, and asks for a tag."""

    class Flag(Model):
        id: int = field(primary_key=True)
        if later:
            colour: Colour = field(default="red")
        else:
            colour: OtherColour = field(default="red")  # type: ignore[no-redef]
        tags: list[str] = field(default=["new"], expose=False, min_length=1 if later else 0)
        seen: int = 0

        @event
        def shown(self) -> None:
            self.seen += 1

    return App(models=[Flag])


def test_what_was_stored_by_other_limits_is_read_as_it_is_and_named_where_it_breaks_them(tmp_path: Path) -> None:
    """In words that are alike on every node, and without a hidden value."""
    node = EvolvingNode(tmp_path / "db", coloured(later=False))
    rows = [(1, "blue", '["a"]'), (2, "red", "[]"), (3, "red", '["a"]')]
    node.accept(node.declaration(), node.change(Create("Flag", ("id", "colour", "tags"), rows)))
    node.restart(coloured(later=True))
    node.accept(node.declaration())
    table = node.machine.tables["Flag"]
    loaded = [table.schema.load(row) for row in table.page(10, 0)]
    assert [(each.__dict__["colour"], each.__dict__["tags"]) for each in loaded] == [
        ("blue", ["a"]), (Colour.RED, []), (Colour.RED, ["a"]),
    ]  # fmt: skip
    first, second, third = node.apply(*(node.change(Call("Flag", number, "shown", "{}")) for number in (1, 2, 3)))
    assert isinstance(first, RuleBroken)
    assert first.message == "colour: Input should be 'red'"
    assert isinstance(second, RuleBroken)
    assert second.message.startswith("tags: ")
    assert "[]" not in second.message
    assert not isinstance(third, Exception)
    node.close()


def test_what_was_declared_without_digests_is_not_compared(tmp_path: Path) -> None:
    node = EvolvingNode(tmp_path / "db", App(models=[one()]))
    declared = node.declaration()
    assert isinstance(declared, Declare)
    form, digests = read_declaration(declared.models)
    assert digests == {"Item": schema_of(one()).rules}
    declared = msgspec.structs.replace(declared, models=json.dumps(form))
    node.accept(declared, node.change(Create("Item", ("id", "stock"), [(1, 5)])))
    node.restart(App(models=[another()]))
    assert node.machine.declarations.differing_rules == []
    node.accept(node.change(CALL))
    node.close()
