"""The dialling half: one connection to each wanted address, brought back whenever it is lost."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from quorate.errors import HandshakeRefused, TransportError
from quorate.transport.contract import Identity, LinkState, LinkStatus
from quorate.transport.delay_line import DelayLine
from quorate.transport.dialled import Dialled
from quorate.transport.handshake import Welcome, check_welcome, is_ourselves
from quorate.transport.options import TcpOptions
from quorate.transport.sockets import describe, split_address

log = logging.getLogger(__name__)


class LinkOwner(Protocol):
    """What a link asks of its transport."""

    def reached(self, link: Link, welcome: Welcome) -> None:
        """A node answered; raise :class:`HandshakeRefused` if it is not to be talked to."""

    def up(self, link: Link, peer: int) -> None:
        """The link can carry messages to ``peer``."""

    def down(self, link: Link, peer: int, reason: str) -> None:
        """It no longer can."""


class Link:
    """Keeps a connection to one address for as long as its task runs."""

    def __init__(
        self, address: str, identity: Identity, options: TcpOptions, rng: random.Random, owner: LinkOwner
    ) -> None:
        self.status = LinkStatus(address)
        self._host, self._port = split_address(address)
        self._identity = identity
        self._options = options
        self._rng = rng
        self._owner = owner
        self._connection: Dialled | None = None
        self._held = DelayLine()
        self._failures = 0
        self._dial_now = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to dial."""
        self._task = asyncio.get_running_loop().create_task(self._keep(), name=f"dial {self.status.address}")

    def stop(self) -> asyncio.Task[None] | None:
        """Begin to close, leaving what was sent last a moment to leave; the task that ends when all is closed."""
        if self._task is not None:
            self._task.cancel()
        return self._task

    def dial_soon(self) -> None:
        """There is a reason to believe that the address answers by now: cut the pause short."""
        self._dial_now.set()

    def write(self, frames: Sequence[bytes]) -> bool:
        """Send frames with one write; false if they were dropped."""
        return self._connection is not None and self._connection.write(b"".join(frames))

    def hold(self, seconds: float, callback: Callable[[], None]) -> bool:
        """Run ``callback`` after a delay, unless the connection goes down before; false if too many wait."""
        return self._connection is not None and self._held.put(seconds, callback)

    @property
    def holds(self) -> bool:
        """Whether delayed frames wait, which later ones must not overtake."""
        return len(self._held) > 0

    async def _keep(self) -> None:
        options = self._options
        while self.status.state is not LinkState.OURSELVES:
            self._failures += 1
            try:
                await self._connect_and_stay()
            except (OSError, TransportError) as error:
                self._note(error)
            except Exception as error:
                log.exception("the link to %s failed and starts anew", self.status.address)
                self.status.last_error = describe(error)
            pause = min(options.backoff_seconds_max, options.backoff_seconds_min * 2 ** min(self._failures - 1, 30))
            await self._pause(pause * (0.5 + 0.5 * self._rng.random()))

    async def _pause(self, seconds: float) -> None:
        """Wait before the next attempt, unless :meth:`dial_soon` is called."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._dial_now.wait()
        self._dial_now.clear()

    async def _connect_and_stay(self) -> None:
        """One connection from its dialling to its loss; raises what prevented or ended it."""
        connection: Dialled | None = None
        try:
            async with asyncio.timeout(self._options.handshake_seconds):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: Dialled(self._identity, self._options), self._host, self._port
                )
                answer = await connection.until_answered()
            check_welcome(self._identity, answer, self._options.versions)
            if is_ourselves(self._identity, answer):
                self.status.state, self.status.peer = LinkState.OURSELVES, answer.node_id
                return
            self._owner.reached(self, answer)
            await self._stay(connection, answer.node_id)
        finally:
            if connection is not None:
                await connection.finish(self._options.close_seconds)

    async def _stay(self, connection: Dialled, peer: int) -> None:
        status, loop = self.status, asyncio.get_running_loop()
        status.state, status.peer, status.last_error = LinkState.CONNECTED, peer, None
        log.info("connected to node %d at %s", peer, status.address)
        began = loop.time()
        self._connection = connection
        reason = "hung up"
        try:
            self._owner.up(self, peer)
            lost = await connection.until_lost()
            reason = describe(lost)
        finally:
            self._connection = None
            self._held.clear()
            status.state = LinkState.CONNECTING
            # One that stayed proves the address; one that comes and goes must earn longer and longer pauses.
            if loop.time() - began >= self._options.backoff_seconds_max:
                self._failures = 0
            self._owner.down(self, peer, reason)
        raise lost

    def _note(self, error: Exception) -> None:
        """Log the first failure of each kind, not every attempt."""
        status, reason = self.status, describe(error)
        refused = isinstance(error, HandshakeRefused)
        status.state = LinkState.REFUSED if refused else LinkState.CONNECTING
        if reason != status.last_error:
            status.last_error = reason
            log.warning("%s %s: %s", "refused by" if refused else "no connection to", status.address, reason)
