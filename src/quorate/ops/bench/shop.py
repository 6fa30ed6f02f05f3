"""What the nodes of the CRUD benchmark serve: one product with all that costs something at each write, one without."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from uuid import UUID

from quorate import App, Model, field

KEPT = timedelta(days=90)


class Category(Model):
    """What products refer to."""

    id: UUID = field(primary_key=True)
    name: str = field(unique=True, min_length=1)


class Product(Model):
    """History, a unique field, an index and a foreign key."""

    id: UUID = field(primary_key=True)
    name: str = field(unique=True, min_length=1, track_history=True, audited=True, retention=KEPT)
    price: Decimal = field(ge="0.01")
    stock: int = field(default=0, ge=0, indexed=True)
    category_id: UUID | None = field(default=None, foreign_key=Category, on_delete="restrict")


class PlainProduct(Model):
    """The same fields, checked alike."""

    id: UUID = field(primary_key=True)
    name: str = field(min_length=1)
    price: Decimal = field(ge="0.01")
    stock: int = field(default=0, ge=0)
    category_id: UUID | None = None


app = App(models=[Category, Product, PlainProduct], title="Benchmark")
