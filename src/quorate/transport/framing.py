"""Frames: how a stream of bytes is cut into message bodies.

::

    ┌────────────┬────────────┬────────────────────┐
    │ length u32 │ crc32c u32 │ body (msgpack) …   │   big-endian
    └────────────┴────────────┴────────────────────┘

``length`` counts the bytes that follow it. The checksum covers the body: TCP's own sum of 16 bits lets damage
through, and a flipped bit in a term or a commit index is as harmful as one in an entry.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from google_crc32c import extend
from google_crc32c import value as crc32c

from quorate.errors import FrameError

FRAME_BYTES_MAX = 64 * 1024 * 1024
"""The default limit on a frame, header included."""

_HEADER = struct.Struct(">II")
HEADER_BYTES = _HEADER.size
_LENGTH_BYTES = 4


def encode_frame(body: bytes) -> bytes:
    """The frame that carries ``body``."""
    return _HEADER.pack(HEADER_BYTES - _LENGTH_BYTES + len(body), crc32c(body)) + body


def encode_frame_of(pieces: list[bytes]) -> list[bytes]:
    """The same in pieces, for a body in pieces."""
    checksum = length = 0
    for piece in pieces:
        checksum = extend(checksum, piece)
        length += len(piece)
    return [_HEADER.pack(HEADER_BYTES - _LENGTH_BYTES + length, checksum) + pieces[0], *pieces[1:]]


class FrameSplitter:
    """Cuts a stream into bodies, however the stream is chopped.

    Holds at most one incomplete frame and takes time linear in the bytes fed. ``frame_bytes_max`` may be changed
    between frames: a stranger's first frame deserves less trust than a peer's thousandth.
    """

    def __init__(self, frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        self.frame_bytes_max = frame_bytes_max
        self._partial = bytearray()

    @property
    def partial_bytes(self) -> int:
        """The bytes held of a frame that is not complete yet."""
        return len(self._partial)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The bodies that ``data`` completes, each intact.

        The iterator must be exhausted before the next call. Raises :class:`FrameError` at the first frame that is
        over the limit or fails its checksum; the stream is lost from there on, and so is the splitter.
        """
        partial, offset, end = self._partial, 0, len(data)
        if partial:
            rest = self._complete(data)
            if rest is None:
                return
            offset = rest
            _, checksum = _HEADER.unpack_from(partial)
            body = bytes(memoryview(partial)[HEADER_BYTES:])
            partial.clear()
            yield _intact(checksum, body)
        while end - offset >= HEADER_BYTES:
            length, checksum = _HEADER.unpack_from(data, offset)
            stop = offset + self._frame_bytes(length)
            if stop > end:
                break
            body = data[offset + HEADER_BYTES : stop]
            offset = stop
            yield _intact(checksum, body)
        partial += memoryview(data)[offset:]

    def _complete(self, data: bytes) -> int | None:
        """Move bytes into the partial frame; where the rest of ``data`` starts, or ``None`` if it is still partial."""
        partial, offset = self._partial, 0
        if len(partial) < HEADER_BYTES:
            offset = HEADER_BYTES - len(partial)
            partial += data[:offset]
            if len(partial) < HEADER_BYTES:
                return None
        missing = self._frame_bytes(_HEADER.unpack_from(partial)[0]) - len(partial)
        partial += memoryview(data)[offset : offset + missing]
        return offset + missing if len(data) - offset >= missing else None

    def _frame_bytes(self, length: int) -> int:
        total = _LENGTH_BYTES + length
        if not HEADER_BYTES <= total <= self.frame_bytes_max:
            raise FrameError(f"a frame of {total} bytes; allowed are {HEADER_BYTES} to {self.frame_bytes_max} bytes")
        return total


def _intact(checksum: int, body: bytes) -> bytes:
    if crc32c(body) != checksum:
        raise FrameError(f"a frame of {HEADER_BYTES + len(body)} bytes fails its checksum")
    return body
