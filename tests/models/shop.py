"""The models that most tests use."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from pydantic import BaseModel, model_validator

from quorate.models import Model, field


class Category(Model):
    id: UUID = field(primary_key=True)
    name: str = field(unique=True, min_length=1)


class Product(Model):
    id: UUID = field(primary_key=True)
    name: str = field(unique=True, min_length=1)
    price: Decimal = field(ge="0.01")
    stock: int = field(default=0, ge=0, indexed=True)
    category_id: UUID | None = field(default=None, foreign_key=Category, on_delete="restrict")


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(Enum):
    LOW = 1
    HIGH = 2


class Part(BaseModel):
    code: str
    weight: Decimal = Decimal(1)
    ratio: float = 1.0


class Everything(Model, resource="everything"):
    """One field of each type."""

    id: UUID = field(primary_key=True)
    text: str = ""
    whole: int = 0
    flag: bool = False
    real: float = 0.0
    amount: Decimal = Decimal(0)
    money: Decimal = field(default="0", decimal_places=2)
    link: UUID | None = None
    blob: bytes = b""
    moment: datetime | None = None
    day: date | None = None
    colour: Colour = Colour.RED
    level: Level | None = None
    tags: list[str] = field(default=[])
    part: Part | None = None
    meta: dict[str, Any] = field(default={})


class Tag(Model):
    """Identified by a word of the client's."""

    word: str = field(primary_key=True)
    serial: str = field(default="", immutable=True)


class Counter(Model):
    number: int = field(primary_key=True)


class Booking(Model):
    """Has a rule over two fields."""

    id: UUID = field(primary_key=True)
    first: int
    last: int
    note: str = ""

    @model_validator(mode="after")
    def _in_order(self) -> Booking:
        if self.last < self.first:
            raise ValueError("last lies before first")
        return self
