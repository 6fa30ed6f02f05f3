"""JSON that is kept as it came, and read by programs of others later: what must not be in it."""

from __future__ import annotations

import asyncio

import msgspec
from pydantic_core import from_json

from quorate.machine.garbage import no_garbage_collection
from quorate.rest.http import RequestError, finding
from quorate.rest.json_pieces import pieces_of

DEPTH_MAX = 200
"""So deep readers of all kinds follow."""

LARGE_BYTES = 64 * 1024
"""Beyond this there may be very many values in it."""
MANY = 20_000
"""So many values are checked at once."""
SLICE_SECONDS = 0.005
"""A document is checked for so long at a time; then everything else has its turn."""

_decode = msgspec.json.Decoder().decode


async def checked_json(document: msgspec.Raw, field: str, position: int | None = None) -> bytes:
    """Its bytes. Raises :class:`~quorate.rest.http.RequestError` if it is not JSON that every reader can read.

    What decodes a body around it has only skipped it, and so looked at neither its text, which has to be UTF-8 without
    lone surrogates, nor its numbers, which have to be finite. Where it has very many values, it is checked bit by bit.
    """
    raw = bytes(document)
    try:
        if len(raw) > LARGE_BYTES and raw.count(b",") + raw.count(b"[") + raw.count(b"{") > MANY:
            await _check_in_pieces(raw)
        else:
            _check(raw)
    except (ValueError, RecursionError) as error:
        message = f"is not valid JSON: {'too deeply nested' if isinstance(error, RecursionError) else error}"[:200]
        found = finding(field, "json", message)
        where = "" if position is None else f"task {position}: "
        raise RequestError(
            400, f"{where}{field} {message}", errors=[found if position is None else {"position": position, **found}]
        ) from None
    return raw


def _check(raw: bytes) -> None:
    _decode(raw)
    if raw.count(b"[") + raw.count(b"{") > DEPTH_MAX:
        from_json(raw)  # it bounds the depth


async def _check_in_pieces(raw: bytes) -> None:
    """What it says of where the mistake is would be about a piece."""
    clock = asyncio.get_running_loop().time
    ends = clock() + SLICE_SECONDS
    try:
        for piece in pieces_of(raw):
            with no_garbage_collection():
                _check(piece)
            if clock() > ends:
                await asyncio.sleep(0)
                ends = clock() + SLICE_SECONDS
    except msgspec.DecodeError as error:
        raise ValueError(str(error).partition(" (byte ")[0]) from None
