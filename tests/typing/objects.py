"""What type checkers make of models: checked by mypy and basedpyright, never run. See ``test_typing``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import assert_type
from uuid import UUID

from quorate import App, ApplyContext, Model, Node, event, field
from quorate.models.objects.query import Query
from quorate.models.objects.watching import ObjectChange


class Product(Model):
    id: UUID = field(primary_key=True)
    name: str = field(unique=True)
    price: Decimal = field(ge="0.01")
    stock: int = field(default=0)

    @event
    def stock_changed(self, delta: int, reason: str = "") -> None:
        self.stock += delta

    @event
    def sold(self, context: ApplyContext, *, quantity: int) -> None:
        self.stock_changed(-quantity, reason=str(context.time))


class Book(Product):
    isbn: str = ""


shop = App(models=[Product, Book])


async def objects() -> None:
    product = await Product.create(name="Oak", price="19.99")
    assert_type(product, Product)
    assert_type(product.price, Decimal)
    assert_type(product.version, int)
    assert_type(await Product.get(product.id), Product)
    assert_type(await Product.get_or_none("0190"), Product | None)
    assert_type(await Product.get(product.id, consistency="eventually"), Product)
    assert_type(await product.update(price="18.50", expected_version=product.version), Product)
    assert_type(await product.refresh(), Product)
    assert_type(await product.delete(), None)
    assert_type(await Book.create(name="Dune"), Book)
    assert_type(await asyncio.gather(Product.create(name="a"), Book.get(1)), tuple[Product, Book])


async def queries() -> None:
    found = Product.filter(price__gte=10)
    assert_type(found, Query[Product])
    assert_type(found.order_by("-price", "name").limit(10).offset(5), Query[Product])
    assert_type(await found, list[Product])
    assert_type(await found.first(), Product | None)
    assert_type(await found.count(), int)
    assert_type([each async for each in Book.filter()], list[Book])
    async for change in Product.watch(after=1):
        assert_type(change, ObjectChange)
        assert_type(change.version, int)


async def events(product: Product, book: Book) -> None:
    assert_type(await product.stock_changed(5), Product)
    assert_type(await product.stock_changed(delta=5, reason="count"), Product)
    assert_type(await book.stock_changed(delta=5), Book)
    assert_type(await product.sold(quantity=1), Product)
    sell: Callable[[int], Awaitable[Product]] = product.stock_changed
    await sell(1)


async def transactions(product: Product, node: Node) -> None:
    async with shop.transaction(optimistic=True) as transaction:
        transaction.check(product)
        assert_type(await product.stock_changed(delta=1), Product)
    with node.using(), shop.acting_as("ann"):
        await product.stock_changed(delta=1)


def iterates(query: Query[Product]) -> AsyncIterator[Product]:
    return query.__aiter__()


async def refused(product: Product) -> None:
    """Each of these has to be an error, to both: one that is none is one, too."""
    await product.stock_changed(delta="5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await product.stock_changed()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await product.stock_changed(delta=5, by=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await product.sold(quantity=1, context=None)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await product.restocked()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    product.colour = "red"  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    await Product.get(product.id, consistency="later")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Product(id=product.id, name=1, price=Decimal(1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
