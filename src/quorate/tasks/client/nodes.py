"""One node after the other, until one answers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from enum import Enum
from types import TracebackType
from typing import Self

from quorate.config import parse_peer
from quorate.errors import ConfigError, NotApplied, OutcomeUnknown, ReadUnavailable
from quorate.rest.http_client import HttpClient, NotSent, RequestFailed, Response
from quorate.tasks.client.problems import detail_of, refusal_of

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 10.0
"""So long a node may take to answer, beside what it was asked to wait."""
PATIENCE_SECONDS = 30.0
"""So long a request is made again and again, unless the program says otherwise."""
PAUSE_SECONDS, PAUSE_SECONDS_MAX = 0.05, 1.0
"""When all nodes have been asked; doubled each time."""


class Kind(Enum):
    """What may be done about a request whose outcome is unknown."""

    READ = "read"
    """It changes nothing."""
    REPEATABLE = "repeatable"
    """Made twice, it does what it does once."""
    ONCE = "once"
    """The caller has to look what has become of it."""


class Nodes:
    """The nodes of a cluster, of which the one that answered last is asked first."""

    def __init__(
        self, cluster: str | Sequence[str], *, patience: float, answer_seconds: float = ANSWER_SECONDS
    ) -> None:
        """``cluster``: host:port, by commas or in a list. Raises :class:`~quorate.errors.ConfigError`."""
        parts = cluster.split(",") if isinstance(cluster, str) else list(cluster)
        addresses = dict.fromkeys(parse_peer(part).address for part in parts if part.strip())
        if not addresses:
            raise ConfigError("no cluster is given: name its nodes as host:port, by commas")
        self.addresses = list(addresses)
        random.shuffle(self.addresses)  # so that not all programs ask the same one
        self._patience = patience
        self._answer_seconds = answer_seconds
        self._at = 0
        self._http = HttpClient(timeout=CONNECT_SECONDS)

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, traceback)

    async def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        kind: Kind,
        wait: float = 0.0,
    ) -> bytes:
        """The body of the answer. ``wait`` is how many seconds the node is asked to wait with it.

        Raises a :class:`~quorate.tasks.errors.TaskRefusal`; and when no node has answered in time,
        :class:`~quorate.errors.ReadUnavailable`, or :class:`~quorate.errors.NotApplied` if the request has certainly
        had no effect, or else :class:`~quorate.errors.OutcomeUnknown`.
        """
        return await _Request(self, method, path, body, kind, wait).answer(self._patience)

    async def ask(self, method: str, path: str, body: bytes | None, wait: float) -> Response:
        """Ask the node whose turn it is. Raises :class:`~quorate.rest.http_client.RequestFailed`."""
        url = f"http://{self.address}/api/v1/{path}"
        return await self._http.request(method, url, body, timeout=self._answer_seconds + wait)

    @property
    def address(self) -> str:
        """Whose turn it is."""
        return self.addresses[self._at]

    def turn(self, address: str) -> None:
        """That one cannot help: it is the next one's turn, unless it is already."""
        if self.address == address:
            self._at = (self._at + 1) % len(self.addresses)


class _Request:
    """One request, on its way from node to node."""

    def __init__(self, nodes: Nodes, method: str, path: str, body: bytes | None, kind: Kind, wait: float) -> None:
        self._nodes = nodes
        self._method = method
        self._path = path
        self._body = body
        self._kind = kind
        self._wait = wait
        self._may_have_been_applied = False
        self._said = "no node could be reached"
        self._failures = 0

    async def answer(self, patience: float) -> bytes:
        """See :meth:`Nodes.request`."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + patience
        while True:
            address = self._nodes.address
            try:
                response = await self._nodes.ask(self._method, self._path, self._body, self._wait)
            except RequestFailed as error:
                self._fail(address, str(error), unknown=not isinstance(error, NotSent))
                pause = self._pause()
            else:
                if response.status < 400:
                    return response.body
                pause = self._look_at(address, response, deadline - clock())
            if clock() + pause >= deadline:
                raise self._given_up()
            await asyncio.sleep(pause)

    def _look_at(self, address: str, response: Response, left: float) -> float:
        """Seconds until it may be asked again. Raises what says that it should not be."""
        status, detail = response.status, detail_of(response.body)
        if status == 429:
            pause = _retry_after(response, PAUSE_SECONDS_MAX)
            if pause >= left:
                raise refusal_of(status, response.body)
            return pause
        if status < 500:
            raise refusal_of(status, response.body)
        said = detail or f"it answered with the status {status}"
        self._fail(address, f"{address}: {said}", unknown=status != 503)
        return self._pause()

    def _fail(self, address: str, said: str, *, unknown: bool) -> None:
        """``said`` names the address, too."""
        self._said = said
        self._failures += 1
        self._nodes.turn(address)
        if unknown:
            self._may_have_been_applied = True
            if self._kind is Kind.ONCE:
                raise OutcomeUnknown(self._said)

    def _pause(self) -> float:
        """None as long as there is a node that was not asked."""
        rounds, rest = divmod(self._failures, len(self._nodes.addresses))
        return 0.0 if rest else float(min(PAUSE_SECONDS_MAX, PAUSE_SECONDS * 2 ** min(rounds - 1, 10)))

    def _given_up(self) -> Exception:
        if self._kind is Kind.READ:
            return ReadUnavailable(self._said)
        return OutcomeUnknown(self._said) if self._may_have_been_applied else NotApplied(self._said)


def _retry_after(response: Response, default: float) -> float:
    text = response.headers.get("retry-after", "")
    return float(text) if text.isdecimal() and len(text) < 6 else default
