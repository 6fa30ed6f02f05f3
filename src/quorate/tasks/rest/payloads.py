"""JSON that is kept as it came, and read by programs of others later: what must not be in it."""

from __future__ import annotations

import msgspec
from pydantic_core import from_json

from quorate.machine.garbage import no_garbage_collection
from quorate.rest.http import RequestError, finding

DEPTH_MAX = 200
"""So deep readers of all kinds follow."""

LARGE_BYTES = 64 * 1024
"""Beyond this there may be very many values in it."""

_decode = msgspec.json.Decoder().decode


def checked_json(document: msgspec.Raw, field: str, position: int | None = None) -> bytes:
    """Its bytes. Raises :class:`~quorate.rest.http.RequestError` if it is not JSON that every reader can read.

    What decodes a body around it has only skipped it, and so looked at neither its text, which has to be UTF-8 without
    lone surrogates, nor its numbers, which have to be finite.
    """
    raw = bytes(document)
    try:
        if len(raw) > LARGE_BYTES:
            with no_garbage_collection():
                _check(raw)
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
