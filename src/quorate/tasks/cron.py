"""When cron expressions come due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from quorate.tasks.errors import InvalidTask
from quorate.tasks.limits import CRON_CHARACTERS_MAX

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def next_slot_us(expression: str, timezone: str, after_us: int) -> int:
    """The first moment of the expression behind ``after_us``, in microseconds since 1970.

    Wall time is that of the zone: an hour that the clocks leave out has its turns right behind the gap, and one that
    comes twice has them once, unless the expression comes round in less than an hour. Raises :class:`InvalidTask`,
    also for an expression that never comes (again).
    """
    if len(expression) > CRON_CHARACTERS_MAX:
        raise InvalidTask("cron", "too_long", f"should have at most {CRON_CHARACTERS_MAX} characters")
    after = (_EPOCH + after_us * _MICROSECOND).astimezone(_zone(timezone))
    try:
        slot = next(CronSim(expression, after))
    except CronSimError as error:
        raise InvalidTask("cron", "cron", f"{expression!r} is no cron expression: {error}") from None
    except (StopIteration, OverflowError):
        raise InvalidTask("cron", "past", f"{expression!r} never comes again") from None
    return (slot - _EPOCH) // _MICROSECOND


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidTask("timezone", "timezone", f"{name[:64]!r} is no time zone that is known here") from None
