"""The requests of the CRUD benchmark, encoded beforehand as far as they can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count, cycle

_NUMBERS = count(1)
_ROW = b'{"name":"Bench product %010d","price":"19.99","stock":7}'


def get(target: str, host: str) -> bytes:
    """A complete GET request."""
    return f"GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n".encode()


def gets(targets: Sequence[str], host: str) -> Callable[[], bytes]:
    """GET requests for ``targets``, again and again in a row."""
    return cycle([get(target, host) for target in targets]).__next__


def creates(host: str) -> Callable[[], bytes]:
    """POST requests, each for a product with a name of its own."""
    head = _head("/api/products", host, len(_ROW % 0))

    def next_request() -> bytes:
        return head + _ROW % next(_NUMBERS)

    return next_request


def bulk_creates(host: str, rows: int) -> Callable[[], bytes]:
    """POST requests for ``rows`` products each."""
    head = _head("/api/products/_bulk", host, 2 + rows * len(_ROW % 0) + rows - 1)

    def next_request() -> bytes:
        return head + b"[" + b",".join([_ROW % next(_NUMBERS) for _ in range(rows)]) + b"]"

    return next_request


def _head(target: str, host: str, length: int) -> bytes:
    return (
        f"POST {target} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    ).encode()
