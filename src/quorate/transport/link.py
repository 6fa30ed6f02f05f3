"""The dialling half: a link to each wanted address, brought back whenever it is lost."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Protocol

from quorate.errors import HandshakeRefused, TransportError
from quorate.transport.bulk import BulkLane
from quorate.transport.contract import Identity, Lane, LinkState, LinkStatus
from quorate.transport.dialled import Dialled, dialled
from quorate.transport.handshake import Hello, Welcome, check_welcome, is_ourselves
from quorate.transport.options import TcpOptions
from quorate.transport.outlet import Outlet
from quorate.transport.sockets import describe, split_address

log = logging.getLogger(__name__)


class LinkOwner(Protocol):
    """What a link asks of its transport."""

    def hello(self, link: Link, lane: Lane) -> Hello:
        """How to present ourselves now."""

    def reached(self, link: Link, welcome: Welcome, lane: Lane) -> None:
        """A node answered; raise :class:`HandshakeRefused` if it is not to be talked to."""

    def refused(self, link: Link, error: HandshakeRefused) -> None:
        """A node answered that it does not want to talk to us."""

    def up(self, link: Link, peer: int) -> None:
        """The link can carry messages to ``peer``."""

    def down(self, link: Link, peer: int, reason: str) -> None:
        """It no longer can."""


class Link:
    """Keeps a connection to one address for as long as its task runs, and a second one while that is of use."""

    def __init__(
        self, address: str, identity: Identity, options: TcpOptions, rng: random.Random, owner: LinkOwner
    ) -> None:
        self.status = LinkStatus(address)
        self._host, self._port = split_address(address)
        self._identity = identity
        self._options = options
        self._rng = rng
        self._owner = owner
        self._prompt = Outlet(options.queue_bytes_max)
        self._bulk = BulkLane(address, options, rng, self._connect_bulk)
        self._found: Welcome | None = None
        self._failures = 0
        self._dial_now = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to dial."""
        self._task = asyncio.get_running_loop().create_task(self._keep(), name=f"dial {self.status.address}")

    def stop(self) -> set[asyncio.Task[None]]:
        """Begin to close, leaving what was sent last a moment to leave; the tasks that end when all is closed."""
        self._prompt.close()
        if self._task is not None:
            self._task.cancel()
        return {task for task in (self._task, self._bulk.stop()) if task is not None}

    def dial_soon(self) -> None:
        """There is a reason to believe that the address answers by now: cut the pause short."""
        self._dial_now.set()

    def outlet(self, lane: Lane) -> Outlet:
        """Where a lane's frames leave, closed or not."""
        return self._prompt if lane is Lane.PROMPT else self._bulk

    def wanted(self, lane: Lane) -> None:
        """There was something to send on a lane that is closed."""
        if lane is Lane.BULK and self._found is not None and _keeps_bulk_apart(self._found):
            self._bulk.dial()

    async def _keep(self) -> None:
        while self.status.state is not LinkState.OURSELVES:
            self._failures += 1
            try:
                await self._connect_and_stay()
            except (OSError, TransportError) as error:
                self._note(error)
            except Exception as error:
                log.exception("the link to %s failed and starts anew", self.status.address)
                self.status.last_error = describe(error)
            await self._pause(self._options.pause_seconds(self._failures, self._rng))

    async def _pause(self, seconds: float) -> None:
        """Wait before the next attempt, unless :meth:`dial_soon` is called."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._dial_now.wait()
        self._dial_now.clear()

    async def _connect_and_stay(self) -> None:
        """One connection from its dialling to its loss; raises what prevented or ended it."""
        async with self._connect(Lane.PROMPT) as (connection, welcome):
            if is_ourselves(self._identity, welcome):
                self.status.state, self.status.peer = LinkState.OURSELVES, welcome.node_id
                return
            self._owner.reached(self, welcome, Lane.PROMPT)
            await self._stay(connection, welcome)

    @asynccontextmanager
    async def _connect(self, lane: Lane) -> AsyncIterator[tuple[Dialled, Welcome]]:
        hello = partial(self._owner.hello, self, lane)
        welcomed = False
        try:
            async with dialled(self._host, self._port, hello, self._options) as (connection, welcome):
                welcomed = True
                check_welcome(self._identity, welcome, self._options.versions)
                yield connection, welcome
        except HandshakeRefused as error:
            if not welcomed:
                self._owner.refused(self, error)
            raise

    @asynccontextmanager
    async def _connect_bulk(self) -> AsyncIterator[tuple[Dialled, Welcome]]:
        async with self._connect(Lane.BULK) as (connection, welcome):
            found = self._found
            # An address may have changed hands between the two connections: the lanes of a link lead to one process.
            if found is None or (welcome.node_id, welcome.incarnation) != (found.node_id, found.incarnation):
                raise HandshakeRefused(f"node {welcome.node_id} there is not the process that the link is up to")
            self._owner.reached(self, welcome, Lane.BULK)
            yield connection, welcome

    async def _stay(self, connection: Dialled, welcome: Welcome) -> None:
        status, loop, peer = self.status, asyncio.get_running_loop(), welcome.node_id
        status.state, status.peer, status.last_error = LinkState.CONNECTED, peer, None
        log.info("connected to node %d at %s", peer, status.address)
        if not _keeps_bulk_apart(welcome):
            log.warning("node %d at %s knows no bulk lane: nothing large can be sent to it", peer, status.address)
        began = loop.time()
        self._found = welcome
        self._prompt.open(connection)
        reason = "hung up"
        try:
            self._owner.up(self, peer)
            lost = await connection.until_lost()
            reason = describe(lost)
        finally:
            self._found = None
            self._prompt.close()
            self._bulk.stop()
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


def _keeps_bulk_apart(welcome: Welcome) -> bool:
    """Whether the node may be dialled for a bulk lane: an older one would take it for the prompt lane come back."""
    return welcome.lanes > Lane.BULK.value
