"""The models of the workloads that try everything a declaration can say."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from quorate import App, Model, event, field
from quorate.machine.contract import ApplyContext

OVERDRAFT = 50
"""So much anybody may owe."""
RETENTION = timedelta(seconds=2)


class Counter(Model):
    """``hits`` is only ever raised by one, by whoever says which version was read."""

    id: int = field(primary_key=True)
    hits: int = field(default=0, audited=True, retention=RETENTION)
    colour: str = field(default="red", track_history=True)


class Wallet(Model):
    """Someone who has money, or owes some."""

    id: int = field(primary_key=True)
    owner: str = field(unique=True, immutable=True)
    balance: int = field(default=0, audited=True)
    moved_at: int = 0

    @event
    def moved(self, context: ApplyContext, amount: int) -> None:
        """What is in the wallet becomes more or less."""
        if self.balance + amount < -OVERDRAFT:
            raise ValueError("there is not enough in it")
        self.balance += amount
        self.moved_at = context.index


class Shelf(Model, resource="shelves"):
    """Goes with all that is on it."""

    id: int = field(primary_key=True)
    label: str = field(unique=True)


class Item(Model, unique_together=[("shelf_id", "place")]):
    """Something on a shelf, or nowhere."""

    id: int = field(primary_key=True)
    code: str = field(unique=True, track_history=True)
    shelf_id: int | None = field(default=None, foreign_key=Shelf, on_delete="cascade")
    place: int = field(default=0)


class Tag(Model):
    """Stays when its item goes, and says so."""

    id: UUID = field(primary_key=True)
    text: str
    item_id: int | None = field(default=None, foreign_key=Item, on_delete="set_null", track_history=True)


class Order(Model):
    """An item that was ordered cannot go."""

    id: int = field(primary_key=True)
    item_id: int = field(foreign_key=Item, on_delete="restrict")


SHOP = App(models=[Counter, Wallet, Shelf, Item, Tag, Order], title="Shop")
