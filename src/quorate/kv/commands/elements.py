"""HSCAN, SSCAN and ZSCAN: through a collection in steps.

A cursor is a place among the checksums of the elements, which do not move when others come and go: so an element that
is there all the time is given, and given once. One step looks at all elements, therefore steps are few and large.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from zlib import crc32

import msgspec

from quorate.kv.arguments import checked_pattern, glob, integer, keyword, scan_cursor, syntax_error
from quorate.kv.registry import Arguments
from quorate.kv.replies import CommandError

END = 1 << 32
STEP_MIN = 512
"""A smaller collection is given at once, as Redis does."""
STEPS_MAX = 64
"""So many steps, about, at most."""


class Scan(msgspec.Struct, frozen=True):
    """The arguments of one step."""

    cursor: int = 0
    pattern: bytes = b"*"
    count: int = 10
    values: bool = True

    def step(self, elements: Collection[bytes]) -> tuple[bytes, list[bytes]]:
        """The next cursor and the elements of this step that are like the pattern."""
        like = glob(self.pattern)
        size = max(self.count, STEP_MIN, len(elements) // STEPS_MAX)
        if not self.cursor and len(elements) <= size:
            return b"0", [element for element in elements if like(element)]
        end = self.cursor + END * size // max(len(elements), size)
        given = [element for element in elements if self.cursor <= crc32(element) < end and like(element)]
        return b"%d" % (end if end < END else 0), given


def check_cursor(arguments: Arguments) -> None:
    """Raises if the cursor is none: alone that is looked at before there is a collection to go through."""
    scan_cursor(arguments[2])


def parse_scan(arguments: Arguments) -> Scan:
    """``KEY cursor [MATCH pattern] [COUNT n]``, and ``NOVALUES`` with HSCAN."""
    pattern, count, values = b"*", 10, True
    rest = deque(arguments[3:])
    while rest:
        option = keyword(rest.popleft())
        if option == b"NOVALUES":
            if arguments[0] != b"HSCAN":
                raise CommandError("ERR NOVALUES option can only be used in HSCAN")
            values = False
        elif option == b"MATCH" and rest:
            pattern = checked_pattern(rest.popleft())
        elif option == b"COUNT" and rest:
            count = integer(rest.popleft())
            if count < 1:
                raise syntax_error()
        else:
            raise syntax_error()
    return Scan(scan_cursor(arguments[2]), pattern, count, values)
