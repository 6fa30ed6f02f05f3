"""What goes to one client: replies in the order of its requests, and messages in between.

A reply that is ready waits in its slot for those before it; what is ready at the front leaves with one ``write``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from quorate.kv.replies import Push, Reply
from quorate.kv.resp.writer import encode_2

if TYPE_CHECKING:
    from quorate.kv.server.service import Service


class Slot:
    """The place of one reply among a client's replies. ``then`` makes the reply of what came back."""

    __slots__ = ("reply", "then")

    def __init__(self, then: Callable[[Any], Any] | None = None) -> None:
        self.reply: bytes | None = None
        self.then = then


class Outgoing(asyncio.Protocol):
    """Of one connection."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._soft_bytes = service.limits.output_soft_bytes
        self._transport: asyncio.Transport | None = None
        self._slots: deque[Slot] = deque()
        self._pushes: list[bytes] = []
        self._pushed_bytes = 0
        self._ready_bytes = 0
        """Those of replies in their slots."""
        self.is_gone = False
        """Whether nothing is sent any more: the client has gone, or was cut off."""
        self._is_full = False
        """Whether the client does not take what it is sent."""
        self._ending = False
        self.encode = encode_2

    def _reply_now(self, reply: Reply) -> None:
        self._slots.append(slot := Slot())
        self._fill(slot, reply)

    def _fill(self, slot: Slot, reply: Reply) -> None:
        """Have a reply ready. A client that has left too many of them is cut off instead."""
        if (self._is_full or self._ready_bytes > self._soft_bytes) and self._is_beyond_bound():
            self.abort()
        if not self.is_gone:
            slot.reply = encoded = self.encode(reply)
            self._ready_bytes += len(encoded)

    def _is_beyond_bound(self) -> bool:
        unsent = self._transport.get_write_buffer_size() if self._transport is not None else 0
        return self._ready_bytes + unsent > self._service.limits.output_hard_bytes

    @property
    def address(self) -> bytes:
        """Where the client is, as ``host:port``."""
        name = self._transport.get_extra_info("peername") if self._transport is not None else None
        return f"{name[0]}:{name[1]}".encode() if name else b""

    @property
    def is_open(self) -> bool:
        """Whether the client is there, and may still ask for something."""
        return self._transport is not None and not self._ending

    def abort(self) -> None:
        """Close at once."""
        self._ending = True
        self._forget_all()
        if self._transport is not None:
            self._transport.abort()

    def _forget_all(self) -> None:
        self.is_gone = True
        self._slots.clear()
        self._pushes.clear()
        self._ready_bytes = self._pushed_bytes = 0

    @property
    def takes_pushes(self) -> bool:
        """Whether the client takes what it is sent."""
        return not self._is_full and self._pushed_bytes < self._service.limits.output_soft_bytes

    def push(self, data: bytes) -> None:
        """Send a message in between, at the end of this turn. Who leaves too many of them is disconnected."""
        if self._transport is None or self._ending:
            return
        if not self._pushes:
            asyncio.get_running_loop().call_soon(self._send_pushes)
        self._pushes.append(data)
        self._pushed_bytes += len(data)
        if self._pushed_bytes + self._transport.get_write_buffer_size() > self._service.limits.pushed_bytes_max:
            self.abort()

    def push_reply(self, message: Push) -> None:
        """The same for what is not encoded yet."""
        self.push(self.encode(message))

    def _send_pushes(self) -> None:
        self.flush()
        if not self._is_full:
            self.takes_more()

    def takes_more(self) -> None:
        """Told when messages have left, and the client takes more."""

    def flush(self) -> None:
        """Send what is ready at the front."""
        slots, transport = self._slots, self._transport
        if slots and slots[0].reply is None and not self._pushes:
            return
        parts: list[bytes] = []
        pushed_bytes = 0
        if self._pushes:
            parts, self._pushes = self._pushes, parts
            pushed_bytes, self._pushed_bytes = self._pushed_bytes, 0
        while slots and (reply := slots[0].reply) is not None:
            parts.append(reply)
            slots.popleft()
        if transport is None:
            return
        if parts:
            data = b"".join(parts)
            self._ready_bytes -= len(data) - pushed_bytes
            transport.write(data)
        if self._ending and not slots:
            transport.close()
