"""What a class body may say, and that a bad one fails at import with a message that names model and field."""

from __future__ import annotations

from textwrap import indent
from uuid import UUID

import pytest

from quorate.errors import ConfigError
from quorate.models.model import schema_of
from quorate.models.names import resource_name, table_name

from .shop import Category, Everything, Product

PRELUDE = """
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID
from pydantic import Field, BaseModel, SecretStr, computed_field, field_serializer
from quorate.models import Model, field
class Colour(Enum):
    RED = "red"
"""


def declare(body: str, *, key: bool = True, head: str = "class Thing(Model):") -> None:
    lines = "id: UUID = field(primary_key=True)\n" if key else ""
    source = f"{PRELUDE}\n{head}\n{indent(lines + body, '    ')}"
    exec(compile(source, "declared", "exec", dont_inherit=True), {"__name__": "declared", "Category": Category})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("x: UUID = field(primary_key=True)", "Thing.x: a second primary key beside id"),
        ("x = field(unique=True)", "Thing: Field 'x' requires a type annotation"),
        ("x: object", "Thing.x: the type object is not supported"),
        ("x: complex = 1j", "Thing.x: the type complex is not supported"),
        ("x: set[int]", "Thing.x: the type set"),
        ("x: list[set[int]]", "Thing.x: the type list"),
        ("x: SecretStr", "Thing.x: the type SecretStr is not supported"),
        ("x: timedelta", "Thing.x: the type timedelta is not supported"),
        ("x: list[Category]", "Thing.x: the type list"),
        ("x: 'Undefined'", "Thing.x: its type Undefined is not defined"),
        ("x: Literal[1, 'a']", "Thing.x: the type"),
        ("x: int = field(foreign_key=Category)", "Thing.x: its type is int, but the primary key of Category is uuid"),
        ("x: UUID = field(foreign_key=int)", "Thing.x: foreign_key=int is not a model"),
        ("x: UUID = field(foreign_key='Category')", "Thing.x: foreign_key=Category is not a model"),
        ("x: UUID = field(foreign_key=Model)", "Thing.x: foreign_key=Model is not a model"),
        ("x: UUID = field(foreign_key=Category, on_delete='explode')", "Thing.x: on_delete='explode' should be one of"),
        ("x: str = field(validate='shiny')", "Thing.x: validate='shiny': known validators are"),
        ("x: str = field(validate='min_value(1)')", "Thing.x: validate='min_value(1)': needs a number"),
        ("x: int = field(validate='min_value')", "Thing.x: validate='min_value': needs one int"),
        ("x: int = field(validate='min_value(a)')", "Thing.x: validate='min_value(a)': needs one int"),
        ("x: float = field(validate='min_value(nan)')", "Thing.x: validate='min_value(nan)': needs a finite"),
        ("x: str = field(validate='non_empty(1)')", "Thing.x: validate='non_empty(1)': takes no argument"),
        ("x: int = field(validate='non_empty')", "Thing.x: validate='non_empty': needs a value with a length"),
        ("x: int = field(validate=[3])", "Thing.x: validate=3"),
        ("x: int = field(ge=1, validate='min_value(2)')", "Thing.x: validate='min_value(2)' and ge limit the same"),
        ("x: str = field(ge=1)", "Thing.x: ge means nothing for the type str"),
        ("x: int = field(min_length=1)", "Thing.x: min_length means nothing for the type int"),
        ("x: float = field(decimal_places=2)", "Thing.x: decimal_places means nothing"),
        ("x: int = field(ge='soon')", "Thing.x: "),
        ("x: str = field(pattern='(')", "Thing.x: "),
        ("x: int = field(default='zero')", "Thing.x: default='zero'"),
        ("x: int = field(default=-1, ge=0)", "Thing.x: default=-1"),
        ("x: int = field(default=2**63)", "Thing.x: default=9223372036854775808: Integer should fit in 64 bits"),
        ("x: list[int] = field(unique=True)", "Thing.x: unique needs a single value"),
        ("x: dict[str, int] = field(indexed=True)", "Thing.x: indexed needs a single value"),
        ("ID: int", "Thing.ID: differs from id only in case"),
        ("x: int = Field(alias='y')", "Thing.x: aliases are not supported"),
        ("x: list[int] = Field(default_factory=list)", "Thing.x: default_factory is not supported"),
        ("x: int = Field(exclude=True)", "Thing.x: exclude, frozen and init are not supported"),
        ("model_config = {'extra': 'ignore'}", "Thing: model_config may not change extra"),
        ("@computed_field\ndef x(self) -> int: return 1", "Thing.x: a computed field is not supported"),
        ("x: int\n@field_serializer('x')\ndef s(self, v): return v", "Thing.s: a field serializer is not supported"),
    ],
)
def test_a_bad_field_is_refused_by_name(body: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        declare(body)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("x: int", "Thing: no primary key"),
        ("id: float = field(primary_key=True)", "Thing.id: a primary key is of type UUID, str or int"),
        ("id: UUID | None = field(primary_key=True)", "Thing.id: a primary key is of type UUID, str or int"),
        ("id: UUID = field(primary_key=True, foreign_key=Category)", "Thing.id: a primary key cannot be a foreign key"),
        ("id: str = field(primary_key=True, default='a')", "Thing.id: a primary key cannot have a default"),
    ],
)
def test_a_model_has_exactly_one_fitting_primary_key(body: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        declare(body, key=False)


@pytest.mark.parametrize("name", ["", "A", "a b", "_x", "a/b", "a--b", "a-"])
def test_a_resource_name_is_a_step_of_a_path(name: str) -> None:
    with pytest.raises(ConfigError, match="Thing: resource="):
        declare("x: int", head=f"class Thing(Model, resource={name!r}):")


def test_an_attribute_that_does_not_exist_is_no_silent_decoration() -> None:
    with pytest.raises(TypeError, match="encrypted"):
        declare("x: int = field(encrypted=True)")


@pytest.mark.parametrize(
    ("class_name", "resource", "table"),
    [
        ("Product", "products", "model_product"),
        ("Category", "categories", "model_category"),
        ("Day", "days", "model_day"),
        ("OrderItem", "order-items", "model_order_item"),
        ("Box", "boxes", "model_box"),
        ("HTTPServer", "http-servers", "model_http_server"),
    ],
)
def test_names_follow_from_the_class(class_name: str, resource: str, table: str) -> None:
    assert resource_name(class_name) == resource
    assert table_name(class_name) == table


def test_the_class_may_name_its_resource() -> None:
    assert schema_of(Everything).resource == "everything"


def test_a_primary_key_may_be_missing_in_python_too() -> None:
    product = Product(name="Oak", price="19.99")  # type: ignore[call-arg, arg-type]
    assert product.id is None
    assert Product(id=UUID(int=1), name="Oak", price=1).id == UUID(int=1)


def test_a_model_may_extend_another() -> None:
    class Book(Product):
        pages: int = 1

    assert schema_of(Book).names == (*schema_of(Product).names, "pages")
    assert schema_of(Book).table == "model_book"
    assert schema_of(Book).key_is_stamped
