"""What shares of which operations a load has."""

from __future__ import annotations

from enum import StrEnum

from quorate.errors import ConfigError
from quorate.ops.bench.operations import Kind


class Mode(StrEnum):
    """Kinds of loads."""

    SINGLE = "single"
    """Each request creates one object."""
    BULK = "bulk"
    """Each creates many."""
    RANDOM = "random"
    """Creates, reads, updates and deletes, by percentages."""


class LightReads(StrEnum):
    """What a read of the load ``random`` asks for, instead of one object."""

    OFF = "0"
    STATUS = "status"
    COUNT = "count"


_READS = {
    None: Kind.READ,
    LightReads.OFF: Kind.LIST,
    LightReads.STATUS: Kind.STATUS,
    LightReads.COUNT: Kind.COUNT,
}


def mix(
    mode: Mode, *, create: int, read: int, update: int, delete: int, light_reads: LightReads | None
) -> dict[Kind, int]:
    """The shares of the kinds of operations. Raises :class:`ConfigError` if they do not make 100 percent."""
    if mode is not Mode.RANDOM:
        return {Kind.CREATE if mode is Mode.SINGLE else Kind.BULK: 100}
    if create + read + update + delete != 100:
        raise ConfigError(
            f"creates, reads, updates and deletes make 100 percent together, not {create + read + update + delete}"
        )
    shares = {Kind.CREATE: create, _READS[light_reads]: read, Kind.UPDATE: update, Kind.DELETE: delete}
    return {kind: share for kind, share in shares.items() if share}
