"""A long JSON document cut into pieces that are documents themselves, so that it can be checked bit by bit.

A reader that builds a million values holds up everything else meanwhile. So the document is cut behind commas. What is
open there is closed at the end of one piece and opened again at the beginning of the next, with a value of no meaning
on both sides of the cut, as a comma has one on either side: ``[1,{"a":[2,3]}]`` may become ``[1,{"a":[2,0]}]`` and
``[{"":[0,3]}]``. All pieces are valid, and none is too deep, if and only if that is so of the document.
"""

from __future__ import annotations

from collections.abc import Iterator

PIECE_BYTES = 64 * 1024
"""A piece is about so long; longer only if it has a longer text in it."""

_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_ARRAY, _OBJECT = b"[{"
_CLOSED_BY = {_ARRAY: b"]"[0], _OBJECT: b"}"[0]}


def pieces_of(document: bytes) -> Iterator[bytes]:
    """The pieces; of what is no JSON some, of which at least one is none either."""
    opened: list[int] = []
    start = 0
    while True:
        opening = _opening(opened)
        stop, outside = _cut(document, start)
        if not (stop and _follow(opened, outside)):
            yield opening + document[start:]
            return
        yield opening + document[start:stop] + _closing(opened)
        start = stop


def _cut(document: bytes, start: int) -> tuple[int, bytes]:
    """Where the piece that begins at ``start`` ends, 0 if it is the last; and what it has outside of texts."""
    size = PIECE_BYTES
    while start + size < len(document):
        # of the same length without escaped quotes, so that each quote begins or ends a text
        window = document[start : start + size].replace(b"\\\\", b"..").replace(b'\\"', b"..")
        parts = window.split(b'"')
        end = len(window) + 1
        for number in range(len(parts) - 1, -1, -1):
            end -= len(parts[number]) + 1
            comma = -1 if number % 2 else parts[number].rfind(b",")
            if comma >= 0:
                return start + end + comma + 1, b"".join([*parts[:number:2], parts[number][:comma]])
        size *= 2
    return 0, b""


def _follow(opened: list[int], outside: bytes) -> bool:
    """Note in ``opened`` which brackets are open behind ``outside``; whether a comma can be there."""
    for bracket in outside.translate(None, _ALL_BUT_BRACKETS):
        if bracket in _CLOSED_BY:
            opened.append(bracket)
        elif not opened or _CLOSED_BY[opened.pop()] != bracket:
            return False
    return bool(opened)


def _opening(opened: list[int]) -> bytes:
    if not opened:
        return b""
    outer = b"".join([b"[" if bracket == _ARRAY else b'{"":' for bracket in opened[:-1]])
    return outer + (b"[0," if opened[-1] == _ARRAY else b'{"":0,')


def _closing(opened: list[int]) -> bytes:
    value = b"0" if opened[-1] == _ARRAY else b'"":0'
    return value + bytes([_CLOSED_BY[bracket] for bracket in reversed(opened)])
