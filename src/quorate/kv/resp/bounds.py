"""What one client may send, and what happens if it sends more."""

from __future__ import annotations

from dataclasses import dataclass


class ProtocolError(Exception):
    """What came is no request, or one beyond the bounds: it is answered with this text, and the connection closed."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The largest request that is read."""

    arguments_max: int = 1_000_000
    bulk_bytes_max: int = 64 << 20
    request_bytes_max: int = 128 << 20
    inline_bytes_max: int = 64 << 10
