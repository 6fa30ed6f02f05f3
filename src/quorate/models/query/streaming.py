"""A full list as one JSON array: of one moment, in pieces, without holding up the node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice

from quorate.machine.queries import Queries
from quorate.models.query.selection import Selection
from quorate.models.store.schema import Documents, Row

STREAM_SECONDS_MAX = 120.0
"""So long a full list may take; then its moment is let go of, wherever its client is."""
CHUNK_BYTES = 256 * 1024
ROWS_AT_ONCE = 64
"""Made JSON of in one go, during which nothing else runs in this process: some 100 µs."""
ROW_BYTES_MAX = 16 * 1024
"""Rows that are larger on average are taken one by one."""


class ListStream:
    """The pieces of the array, made in a thread. Asynchronously iterable once; to be closed with :meth:`aclose`."""

    def __init__(
        self, queries: Queries, selection: Selection, documents: Documents, after: Row | None, turn: ExitStack
    ) -> None:
        """Keeps this moment, of what was flushed. ``turn``, one of :attr:`Queries.list_turns`, is over with it."""
        self._queries = queries
        self._documents = documents
        with turn.pop_all() as opening:
            self._reader = queries.open_reader(STREAM_SECONDS_MAX)
            opening.callback(queries.close_reader, self._reader)
            with self._reader.using() as connection:
                connection.execute("BEGIN")
                connection.execute("SELECT count(*) FROM quorate_applied").fetchall()  # the transaction begins here
                self._chunks = self._made(selection.rows(connection, after))
            self._closing = opening.pop_all()

    def __aiter__(self) -> ListStream:
        return self

    async def __anext__(self) -> bytes:
        """The next piece. Raises what :meth:`Reader.using` raises."""
        chunk = await self._queries.in_its_thread(self._reader, self._next_chunk)
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    def _next_chunk(self) -> bytes | None:
        with self._reader.using():
            return next(self._chunks, None)

    def _made(self, rows: Iterator[Row]) -> Iterator[bytes]:
        before, parts, held, at_once = b"[", [], 0, 1
        while taken := list(islice(rows, at_once)):
            part = self._documents.many(taken)[1:-1]
            parts.append(part)
            held += len(part)
            at_once = min(ROWS_AT_ONCE, 1 + ROW_BYTES_MAX * at_once // max(1, len(part)))
            if held >= CHUNK_BYTES:
                yield before + b",".join(parts)
                before, parts, held = b",", [], 0
        yield (before + b",".join(parts) if parts else before.strip(b",")) + b"]"

    async def aclose(self) -> None:
        """Let go of the moment. Idempotent."""
        self._closing.close()
