"""``Product.filter(…)``: which objects, in which order, and how many of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import apsw

from quorate.errors import StorageFailed
from quorate.models.objects import stored
from quorate.models.objects.binding import Binding, binding_of
from quorate.models.objects.conditions import conditions_of, fields_of
from quorate.models.query.errors import BadQuery
from quorate.models.query.filters import Condition
from quorate.models.query.ordering import Order, parse_order
from quorate.models.query.selection import Page, Selection
from quorate.models.store.schema import Row
from quorate.models.store.tables import Stored
from quorate.node.reads import Consistency

if TYPE_CHECKING:
    from quorate.models.model import Model

M = TypeVar("M")
T = TypeVar("T")

LIST_MAX = 10_000
"""So many objects a list can have; ``async for`` goes through any number."""
PAGE_ROWS = 500
PAGE_BYTES_MAX = 4 * 1024 * 1024
LIST_BYTES_MAX = 64 * 1024 * 1024
LOADED_AT_ONCE = 200


@dataclass(frozen=True, slots=True, eq=False)
class Query(Generic[M]):
    """A question that can be made narrower, and put more than once.

    ::

        cheap = Product.filter(price__lt=10, name__startswith="O").order_by("-price", "name")
        first_ten = await cheap.limit(10)
        dearest = await cheap.first()
        how_many = await cheap.count()
        async for product in cheap:
            ...

    A condition is ``field=value`` or ``field__operator=value`` with ``eq``, ``ne``, ``gt``, ``gte``, ``lt``, ``lte``,
    ``in`` (a list), ``contains``, ``startswith``, ``endswith`` and ``isnull``; all have to hold. Awaited, it is a list
    of one moment; ``async for`` reads page after page, each of which is of its own.

    What cannot be asked raises :class:`~quorate.models.query.errors.BadQuery`, a value of another type pydantic's
    ``ValidationError``.
    """

    model: type[Model]
    conditions: tuple[Condition, ...] = ()
    order: Order = field(kw_only=True)
    limited: int | None = field(default=None, kw_only=True)
    skipped: int = field(default=0, kw_only=True)
    consistency: Consistency | None = field(default=None, kw_only=True)

    @classmethod
    def of(cls, model: type[Model]) -> Query[M]:
        """All objects, in the order of their ids."""
        return cls(model, order=parse_order(fields_of(model), None))

    # -- narrower ----------------------------------------------------------------------------------------

    def filter(self, **conditions: Any) -> Query[M]:
        """Those that meet these conditions, too."""
        return replace(self, conditions=(*self.conditions, *conditions_of(self.model, conditions)))

    def order_by(self, *names: str) -> Query[M]:
        """In the order of these fields; of those with a minus before their names the largest come first."""
        return replace(self, order=parse_order(fields_of(self.model), ",".join(names) if names else None))

    def limit(self, count: int) -> Query[M]:
        """At most so many."""
        return replace(self, limited=_counted("limit", count))

    def offset(self, count: int) -> Query[M]:
        """Without the first so many."""
        return replace(self, skipped=_counted("offset", count))

    def eventually(self) -> Query[M]:
        """As this node has them, at once and however old."""
        return replace(self, consistency="eventually")

    def strong(self) -> Query[M]:
        """With everything that was acknowledged anywhere before, whatever the app's ``read_consistency`` says."""
        return replace(self, consistency="strong")

    # -- put ---------------------------------------------------------------------------------------------

    def __await__(self) -> Generator[Any, Any, list[M]]:
        return self._list().__await__()

    async def _list(self) -> list[M]:
        """All of one moment."""
        wanted = LIST_MAX if self.limited is None else min(self.limited, LIST_MAX)
        binding = binding_of(self.model)
        page = await self._page(binding, wanted, self.skipped, None, LIST_BYTES_MAX)
        if page.has_more and len(page.rows) != self.limited:
            raise BadQuery(
                "limit", "too_many", f"There are more than {len(page.rows)}: give a limit, or read them by async for"
            )
        return await self._loaded(binding, page.rows)

    async def __aiter__(self) -> AsyncIterator[M]:
        binding, after, skipped, left = binding_of(self.model), None, self.skipped, self.limited
        while left is None or left > 0:
            wanted = PAGE_ROWS if left is None else min(PAGE_ROWS, left)
            page = await self._page(binding, wanted, skipped, after, PAGE_BYTES_MAX)
            for instance in await self._loaded(binding, page.rows):
                yield instance
            if not page.has_more:
                return
            after, skipped = self.order.values(self.model.__model_schema__, page.rows[-1]), 0
            left = None if left is None else left - len(page.rows)

    async def first(self) -> M | None:
        """The first of them, ``None`` if there are none."""
        found = await self.limit(1 if self.limited is None else min(1, self.limited))
        return found[0] if found else None

    async def count(self) -> int:
        """How many there are."""
        binding, key = binding_of(self.model), self.model.__model_schema__.key.name
        found = max(0, await self._ask(binding, self._selection.count, key) - self.skipped)
        return found if self.limited is None else min(found, self.limited)

    # -- how ---------------------------------------------------------------------------------------------

    @property
    def _selection(self) -> Selection:
        return Selection(self.model.__model_schema__, self.conditions, self.order, versioned=True)

    async def _page(self, binding: Binding, limit: int, offset: int, after: Row | None, bytes_max: int) -> Page:
        selection = self._selection
        return await self._ask(binding, lambda connection: selection.page(connection, limit, offset, after, bytes_max))

    async def _ask(self, binding: Binding, question: Callable[[apsw.Connection], T], *names: str) -> T:
        """The answer, which has these fields in it; all of them if none is named."""
        await binding.read(self.consistency or binding.consistency_of(self.model, *names))
        try:
            return await binding.machine.queries.answer(question, binding.engine.flush)
        except apsw.Error as error:
            raise StorageFailed(f"cannot read {self.model.__name__}: {error}") from error

    async def _loaded(self, binding: Binding, rows: Sequence[Row]) -> list[M]:
        objects: list[M] = []
        for at in range(0, len(rows), LOADED_AT_ONCE):
            if at:
                await asyncio.sleep(0)
            if self.model.__model_schema__.local_columns:
                await binding.engine.read_barrier(consistency="eventually")  # a snapshot may be on its way
            for row in rows[at : at + LOADED_AT_ONCE]:
                found = Stored(row[:-1], cast("int", row[-1]))
                objects.append(cast("M", stored.load(binding, self.model, found)))
        return objects


def _counted(what: str, count: int) -> int:
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count < 1 << 63:
        raise BadQuery(what, "range", "It takes a whole number from 0")
    return count
