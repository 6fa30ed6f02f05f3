"""SQL functions that know how values are stored."""

from __future__ import annotations

from decimal import Context, Decimal, Inexact
from uuid import UUID

import apsw

from quorate.models.store import decimals
from quorate.models.store.columns import SqlValue

DECIMAL_SUM = "quorate_decimal_sum"
DECIMAL_AVERAGE = "quorate_decimal_avg"
AVERAGE_DIGITS = 28

# A stored Decimal has at most DIGITS_MAX digits before and behind its point, and the rest is enough for any number of
# rows, so no sum is ever rounded; it would be an error.
_EXACT = Context(prec=3 * decimals.DIGITS_MAX, Emin=-999_999, Emax=999_999, traps=[Inexact])
_AVERAGING = Context(prec=AVERAGE_DIGITS, Emin=-999_999, Emax=999_999, traps=[])


def _sortable(value: Decimal) -> str:
    return decimals.sortable(format(value, "f"))


class DecimalSum:
    """An aggregate over stored Decimals: their exact sum, in stored form; NULL if there are none."""

    def __init__(self) -> None:
        self._sums: dict[int, int] = {}  # of the digits, by their exponents
        self._count = 0

    def step(self, *values: SqlValue) -> None:
        """Take one value."""
        value = values[0]
        if value is not None:
            digits, exponent = decimals.scaled(value)  # type: ignore[arg-type] # the column is one of text
            self._sums[exponent] = self._sums.get(exponent, 0) + digits
            self._count += 1

    def total(self) -> Decimal:
        """The sum."""
        total = Decimal(0)
        for exponent, digits in self._sums.items():
            total = _EXACT.add(total, _EXACT.scaleb(Decimal(digits), exponent))
        return total

    def final(self) -> SqlValue:
        """The result."""
        return _sortable(self.total()) if self._count else None


class DecimalAverage(DecimalSum):
    """The same divided by their number, to :data:`AVERAGE_DIGITS` digits, half to even."""

    def final(self) -> SqlValue:
        """The result."""
        return _sortable(_AVERAGING.divide(self.total(), Decimal(self._count))) if self._count else None


def add_aggregates(connection: apsw.Connection) -> None:
    """Have the connection know what :mod:`quorate.models.query.aggregation` calls."""
    connection.create_aggregate_function(DECIMAL_SUM, DecimalSum, 1)
    connection.create_aggregate_function(DECIMAL_AVERAGE, DecimalAverage, 1)


def add_readable(connection: apsw.Connection) -> None:
    """Have it know ``decimal(x)`` and ``uuid(x)``, which show stored values as people write them."""
    connection.create_scalar_function("decimal", _show_decimal, 1, deterministic=True)
    connection.create_scalar_function("uuid", _show_uuid, 1, deterministic=True)


def _show_decimal(*values: SqlValue) -> SqlValue:
    value = values[0]
    if value is None:
        return None
    if not isinstance(value, str) or not decimals.is_sortable(value):
        raise ValueError("decimal() takes a stored Decimal")
    return decimals.plain(value)


def _show_uuid(*values: SqlValue) -> SqlValue:
    value = values[0]
    if value is None:
        return None
    if not isinstance(value, bytes) or len(value) != 16:
        raise ValueError("uuid() takes a stored UUID")
    return str(UUID(bytes=value))
