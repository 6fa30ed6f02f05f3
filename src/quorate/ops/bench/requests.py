"""The requests of the benchmarks over HTTP, encoded beforehand as far as they can be."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import count, cycle

from quorate.ops.bench.load import Deal, Dealt, Operation

_NUMBERS = count(1)


def get(target: str, host: str) -> bytes:
    """A complete GET request."""
    return f"GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n".encode()


def gets(targets: Sequence[str], host: str) -> Deal:
    """GET requests for ``targets``, again and again in a row."""
    operation = Operation("get", 200)
    return cycle([(operation, get(target, host), b"") for target in targets]).__next__


@lru_cache(maxsize=128)
def post_head(target: str, host: str, length: int) -> bytes:
    """What a POST request begins with; a body of JSON of that ``length`` in bytes is to follow."""
    return request_head("POST", target, host, length)


def request_head(method: str, target: str, host: str, length: int | None = None) -> bytes:
    """What a request begins with: all of it, if no ``length`` in bytes of a body of JSON is given."""
    lines = [f"{method} {target} HTTP/1.1", f"host: {host}"]
    if length is not None:
        lines += ["content-type: application/json", f"content-length: {length}"]
    return "\r\n".join((*lines, "", "")).encode()


class Products:
    """Requests that create products at ``path``, each with a name of its own, in one category."""

    def __init__(self, path: str, host: str, category: str) -> None:
        self._path = path
        self._host = host
        self._row = b'{"name":"Bench product %%010d","price":"19.99","stock":7,"category_id":"%b"}' % category.encode()

    def creates(self) -> Deal:
        """POST requests, each for one product."""
        row = self._row
        head = post_head(self._path, self._host, len(row % 0))
        operation = Operation("create", 201)

        def deal() -> Dealt:
            return operation, head + row % next(_NUMBERS), b""

        return deal

    def bulk_creates(self, rows: int) -> Deal:
        """POST requests for ``rows`` products each."""
        row = self._row
        head = post_head(f"{self._path}/_bulk", self._host, 2 + rows * len(row % 0) + rows - 1)
        operation = Operation("bulk create", 201, rows)

        def deal() -> Dealt:
            body = b"[%b]" % b",".join([row % next(_NUMBERS) for _ in range(rows)])
            return operation, head + body, b""

        return deal
