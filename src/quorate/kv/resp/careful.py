"""A parser that believes nothing: slower than hiredis, and bounded in all that it holds."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from quorate.kv.resp.bounds import Bounds, ProtocolError

_HEADER_BYTES_MAX = 32
_OF_HTTP = (b"POST", b"HOST:")
"""What a browser that was made to send a form here says before the form: lines of that could be commands."""


class CarefulParser:
    """Requests as arrays of bulk strings, or inline."""

    def __init__(self, bounds: Bounds, *, skipped: int = 0, beyond: str = "invalid") -> None:
        """``skipped``: so many requests are known already. ``beyond``: what lengths beyond the bounds are called."""
        self._bounds = bounds
        self._beyond = beyond
        self._skipped = skipped
        self._buffer = bytearray()
        self._at = 0
        self._missing = 0  # arguments of the request that is being read
        self._arguments: list[bytes] = []
        self._request_bytes = 0

    def feed(self, data: bytes) -> Iterator[list[bytes]]:
        """The requests that ``data`` completes. Raises :class:`ProtocolError`."""
        self._buffer += data
        while (request := self._next()) is not None:
            if self._skipped:
                self._skipped -= 1
            elif request:
                yield request
        del self._buffer[: self._at]
        self._at = 0

    @property
    def rest(self) -> bytes:
        """What came behind the last request that was given; of one that has begun, what is complete is written anew."""
        begun = b""
        if self._missing:
            strings = (b"$%d\r\n%b\r\n" % (len(argument), argument) for argument in self._arguments)
            begun = b"*%d\r\n%b" % (len(self._arguments) + self._missing, b"".join(strings))
        return begun + self._buffer[self._at :]

    def _next(self) -> list[bytes] | None:
        if not self._missing:
            header = self._line(_HEADER_BYTES_MAX if self._buffer[self._at : self._at + 1] == b"*" else None)
            if header is None:
                return None
            if header[:1] != b"*":
                return self._inline(header)
            self._missing = self._count(header, self._bounds.arguments_max, "multibulk length")
            self._arguments, self._request_bytes = [], 0
        while self._missing:
            argument = self._bulk()
            if argument is None:
                return None
            self._arguments.append(argument)
            self._missing -= 1
        return self._arguments

    def _bulk(self) -> bytes | None:
        start = self._at
        header = self._line(_HEADER_BYTES_MAX)
        if header is None:
            return None
        if header[:1] != b"$":
            raise ProtocolError(f"Protocol error: expected '$', got {header[:1].decode('latin-1')!r}")
        size = self._count(header, self._bounds.bulk_bytes_max, "bulk length")
        if self._request_bytes + size > self._bounds.request_bytes_max:
            raise ProtocolError("Protocol error: the request is too large")
        end = self._at + size
        if len(self._buffer) < end + 2:
            self._at = start  # the header is read again when more has come
            return None
        if self._buffer[end : end + 2] != b"\r\n":
            raise ProtocolError("Protocol error: a string does not end where it should")
        argument = bytes(self._buffer[self._at : end])
        self._at = end + 2
        self._request_bytes += size
        return argument

    def _line(self, bytes_max: int | None) -> bytes | None:
        """The next line without its end; ``None`` if it is not complete."""
        inline = bytes_max is None
        limit = self._bounds.inline_bytes_max if bytes_max is None else bytes_max
        end = self._buffer.find(b"\n", self._at, self._at + limit)
        if end < 0:
            if len(self._buffer) - self._at >= limit:
                raise ProtocolError(f"Protocol error: too big {'inline request' if inline else 'count string'}")
            return None
        line = bytes(self._buffer[self._at : end]).removesuffix(b"\r")
        self._at = end + 1
        return line

    def _count(self, header: bytes, most: int, what: str) -> int:
        digits = header[1:]
        if not digits.isdigit():
            if digits == b"-1" and header[:1] == b"*":
                return 0  # an empty request, which is ignored
            raise ProtocolError(f"Protocol error: invalid {what}")
        if int(digits) > most:
            raise ProtocolError(f"Protocol error: {self._beyond} {what}")
        return int(digits)

    @staticmethod
    def _inline(line: bytes) -> list[bytes]:
        try:
            words = [word.encode("latin-1") for word in shlex.split(line.decode("latin-1"))]
        except ValueError:
            raise ProtocolError("Protocol error: unbalanced quotes in request") from None
        if words and words[0].upper() in _OF_HTTP:
            raise ProtocolError("Protocol error: this is a request of HTTP")
        return words
