"""Requests out of a stream of bytes: parsed by hiredis, within bounds that hiredis does not have.

hiredis makes room for as many elements as an array announces, before any of them has come. So a stream that may
announce many never gets to it: from there on it is read by :mod:`quorate.kv.resp.careful`, which counts first.
Commands that people type (inline, as ``PING``) are read there, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import hiredis

from quorate.kv.resp.bounds import Bounds, ProtocolError
from quorate.kv.resp.careful import CarefulParser

_MAY_BE_HUGE = re.compile(rb"\n(?:[*%~>|][+-]?[0-9]{5,}|[$=][+-]?[0-9]{9,})")
"""An array of 10,000 elements, or a string of 100 MB. Arrays may be in one another, some hundred deep: to make and to
drop a list of 100,000 for each takes seconds."""
_HEADER_BYTES = 12
_TRIM_BYTES = 256 * 1024


class RequestReader:
    """The requests of one connection: each a list of ``bytes``, not empty."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._reader = hiredis.Reader(protocolError=ProtocolError, replyError=ProtocolError)
        self._careful: CarefulParser | None = None
        # What came since a request last ended just where the data did, and the requests in it:
        self._held: list[bytes] = []
        self._held_bytes = self._held_lines = 0
        self._tail = b""
        self._taken: list[list[bytes]] = []
        self._taken_lines = 0

    def feed(self, data: bytes) -> Iterator[list[bytes]]:
        """The requests that ``data`` completes. Raises :class:`ProtocolError`; then the connection cannot go on."""
        if self._careful is not None:
            return self._careful.feed(data)
        at_start = not self._held
        before = b"\n" if at_start else self._tail
        ahead = before + data
        self._tail = ahead[-_HEADER_BYTES:]
        self._held.append(data)
        self._held_bytes += len(data)
        self._held_lines += data.count(b"\r\n") + (before[-1:] == b"\r" and data[:1] == b"\n")
        if (at_start and data[:1] != b"*") or _MAY_BE_HUGE.search(ahead):
            return self._go_on_carefully()
        if self._held_bytes > self._bounds.request_bytes_max:
            raise ProtocolError("Protocol error: the request is too large")
        self._reader.feed(data)
        return self._requests()

    def take_rest(self) -> bytes:
        """What came behind the last request, where all were taken; it is read elsewhere, and nothing more is fed."""
        if self._careful is None:
            for _ in self._go_on_carefully():
                raise AssertionError("a request was not taken")
        assert self._careful is not None
        return self._careful.rest

    def _requests(self) -> Iterator[list[bytes]]:
        gets = self._reader.gets
        while (request := gets()) is not False:
            if request is None:
                request = []
            elif type(request) is not list:
                raise ProtocolError("Protocol error: expected '*'")
            self._taken.append(request)
            self._taken_lines += 2 * len(request) + 1
            for argument in request:
                if type(argument) is not bytes:
                    raise ProtocolError("Protocol error: expected '$'")
            if request:
                yield request
        if self._is_at_an_end():
            self._hold(b"")
        elif self._taken and self._held_bytes > _TRIM_BYTES:
            # In a stream that never ends, no piece of it need ever end with a request.
            held = b"".join(self._held)
            rest = held[sum(map(_size, self._taken)) :]
            if rest[:1] == b"*":
                self._hold(rest)

    def _hold(self, rest: bytes) -> None:
        self._held = [rest] if rest else []
        self._held_bytes, self._held_lines = len(rest), rest.count(b"\r\n")
        self._taken = []
        self._taken_lines = 0

    def _is_at_an_end(self) -> bool:
        """Whether the last request ended with what came last; hiredis does not tell."""
        if self._held[-1][-1:] != b"\n":
            return False
        if self._held_lines == self._taken_lines:
            return True
        return self._held_bytes == sum(map(_size, self._taken))

    def _go_on_carefully(self) -> Iterator[list[bytes]]:
        careful = self._careful = CarefulParser(self._bounds, skipped=len(self._taken))
        held = b"".join(self._held)
        self._held.clear()
        del self._reader
        return careful.feed(held)


def _size(request: list[bytes]) -> int:
    """A request's bytes on the wire."""
    return len(b"*%d\r\n" % len(request)) + sum(len(b"$%d\r\n" % len(each)) + len(each) + 2 for each in request)
