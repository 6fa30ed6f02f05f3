"""The requests of the CRUD benchmark, encoded beforehand as far as they can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count, cycle

_NUMBERS = count(1)


def get(target: str, host: str) -> bytes:
    """A complete GET request."""
    return f"GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n".encode()


def gets(targets: Sequence[str], host: str) -> Callable[[], bytes]:
    """GET requests for ``targets``, again and again in a row."""
    return cycle([get(target, host) for target in targets]).__next__


class Products:
    """Requests that create products at ``path``, each with a name of its own, in one category."""

    def __init__(self, path: str, host: str, category: str) -> None:
        self._path = path
        self._host = host
        self._row = b'{"name":"Bench product %%010d","price":"19.99","stock":7,"category_id":"%b"}' % category.encode()

    def creates(self) -> Callable[[], bytes]:
        """POST requests, each for one product."""
        row = self._row
        head = self._head("", len(row % 0))

        def next_request() -> bytes:
            return head + row % next(_NUMBERS)

        return next_request

    def bulk_creates(self, rows: int) -> Callable[[], bytes]:
        """POST requests for ``rows`` products each."""
        row = self._row
        head = self._head("/_bulk", 2 + rows * len(row % 0) + rows - 1)

        def next_request() -> bytes:
            return head + b"[" + b",".join([row % next(_NUMBERS) for _ in range(rows)]) + b"]"

        return next_request

    def _head(self, below: str, length: int) -> bytes:
        lines = (
            f"POST {self._path}{below} HTTP/1.1",
            f"host: {self._host}",
            "content-type: application/json",
            f"content-length: {length}",
        )
        return "\r\n".join((*lines, "", "")).encode()
