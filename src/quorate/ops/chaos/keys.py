"""A connection for the Redis protocol that knows what became of a command: answered, refused, or unknown."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import hiredis

from quorate.errors import QuorateError

READ_BYTES = 65536


class Failed(QuorateError):
    """A command was not carried out, or may not have been. ``kind`` is the class of the error, for counting."""

    def __init__(self, kind: str, told: str, *, unknown: bool, broken: bool) -> None:
        super().__init__(told)
        self.kind = kind
        self.unknown = unknown
        """Whether it may have had its effect all the same."""
        self.broken = broken
        """Whether it was the connection that failed."""


class KeysConnection:
    """One connection with one command under way at most. It is made with the first, and anew after a failure."""

    def __init__(self, address: str, password: str | None = None, *, timeout: float) -> None:
        """``timeout`` is how many seconds a connection, and an answer, may take."""
        self.address = address
        self._password = password
        self._timeout = timeout
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._replies = hiredis.Reader()

    async def ask(self, *command: str | int | bytes, timeout: float | None = None) -> Any:
        """The reply. Raises :class:`Failed`. ``timeout``: if it may not take as long as usually."""
        deadline = time.monotonic() + (self._timeout if timeout is None else min(timeout, self._timeout))
        if self._writer is None:
            await self._connect(deadline)
        reply = await self._exchange(command, deadline)
        if isinstance(reply, hiredis.ReplyError):
            raise _refusal(str(reply))
        return reply

    async def _connect(self, deadline: float) -> None:
        host, _, port = self.address.rpartition(":")
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                self._reader, self._writer = await asyncio.open_connection(host.strip("[]"), int(port))
        except (OSError, TimeoutError) as error:
            told = f"{self.address} cannot be reached: {error or 'no answer'}"
            raise Failed("no connection", told, unknown=False, broken=True) from None
        self._replies = hiredis.Reader()
        if self._password is not None:
            reply = await self._exchange(("AUTH", self._password), deadline)
            if isinstance(reply, hiredis.ReplyError):
                self.close()
                raise Failed("refused", f"{self.address}: {reply}", unknown=False, broken=True)

    async def _exchange(self, command: tuple[str | int | bytes, ...], deadline: float) -> Any:
        assert self._reader is not None
        assert self._writer is not None
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                self._writer.write(hiredis.pack_command(cast("Any", command)))
                while (reply := self._replies.gets()) is False:
                    data = await self._reader.read(READ_BYTES)
                    if not data:
                        raise ConnectionError("the connection ended")
                    self._replies.feed(data)
                return reply
        except TimeoutError:
            self.close()
            raise Failed("no answer", f"{self.address} did not answer in time", unknown=True, broken=True) from None
        except (OSError, hiredis.ProtocolError) as error:
            self.close()
            raise Failed("broken connection", f"{self.address}: {error}", unknown=True, broken=True) from None
        except BaseException:  # what was asked is still to be answered
            self.close()
            raise

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


def _refusal(told: str) -> Failed:
    kind = told.partition(" ")[0]
    return Failed(kind, told, unknown=kind == "UNKNOWN", broken=False)
