"""What other members say of themselves, for pages that cannot ask them: a browser may not reach the addresses at which
the members reach each other, and a page may not ask a member that was added since it was loaded.

One stream is open to a member for all who want to hear of it, and none while nobody does.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Collection
from typing import Any

import httptools
import msgspec

from quorate.node.node import Node
from quorate.node.timeline import KEPT_MAX

OTHERS_MAX = 64
"""So many can be asked for at a time, and so many ids of no member are looked out for."""
CONNECT_SECONDS_MAX = 2.0
SILENT_SECONDS_MAX = 5.0
"""A member reports every second; one that says nothing for so long is not heard."""
RETRY_SECONDS = 1.0
REPORT_BYTES_MAX = 1024 * 1024
READ_BYTES = 64 * 1024

log = logging.getLogger(__name__)

Report = dict[str, Any]


class NoReports(Exception):
    """What answers is no stream of reports."""


class Reports:
    """The reports in the bytes of one answer to ``GET /dashboard/live``."""

    def __init__(self) -> None:
        self.is_over = False
        self._parser = httptools.HttpResponseParser(self)
        self._text = b""

    def feed(self, data: bytes) -> list[Report]:
        """Those that ``data`` completes. Raises :class:`NoReports`."""
        try:
            self._parser.feed_data(data)
            *whole, self._text = self._text.split(b"\n\n")
            lines = [line for text in whole for line in text.split(b"\n") if line.startswith(b"data: ")]
            reports = [msgspec.json.decode(line[6:], type=Report) for line in lines]
        except (httptools.HttpParserError, msgspec.DecodeError) as error:
            raise NoReports(str(error)) from None
        if len(self._text) > REPORT_BYTES_MAX or self._parser.get_status_code() != 200:
            raise NoReports
        return reports

    # -- the parser's calls ------------------------------------------------------------------------------

    def on_body(self, data: bytes) -> None:
        self._text += data

    def on_message_complete(self) -> None:
        self.is_over = True


class Other:
    """One member, as long as it is followed. ``tell`` is called when there is news."""

    def __init__(self, address: Callable[[], str | None], tell: Callable[[], None]) -> None:
        self.number = 0
        """Of its latest report."""
        self.report: Report | None = None
        """That, without its events; ``None`` while the member is not heard."""
        self._address = address
        self._tell = tell
        self._events: deque[Report] = deque(maxlen=KEPT_MAX)

    def since(self, event: int) -> tuple[list[Report], int]:
        """What happened there behind event number ``event``, and the number of the last of it."""
        last = self._events[-1]["number"] if self._events else 0
        if event > last:  # the member was started again
            event = 0
        return [each for each in self._events if each["number"] > event], last

    async def follow(self) -> None:
        """For good: hear it, and try again whenever that ends."""
        while True:
            try:
                await self._hear()
            except (OSError, TimeoutError, NoReports, ValueError) as error:
                log.debug("no reports from %s: %s", self._address(), error)
            finally:
                self.report = None
            await asyncio.sleep(RETRY_SECONDS)

    async def _hear(self) -> None:
        address = self._address()
        if address is None:
            return
        host, _, port = address.rpartition(":")
        async with asyncio.timeout(CONNECT_SECONDS_MAX):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        try:
            writer.write(b"GET /dashboard/live HTTP/1.1\r\nhost: %b\r\n\r\n" % address.encode("ascii", "replace"))
            self._events.clear()
            reports = Reports()
            while not reports.is_over:
                async with asyncio.timeout(SILENT_SECONDS_MAX):
                    data = await reader.read(READ_BYTES)
                if not data:
                    return
                for report in reports.feed(data):
                    self._heard(report)
        finally:
            writer.close()

    def _heard(self, report: Report) -> None:
        self._events.extend(report.pop("events", ()))
        self.report = report
        self.number += 1
        self._tell()


class Others:
    """Those members that somebody wants to hear of through this node."""

    def __init__(self, node: Node, tell: Callable[[], None]) -> None:
        self._node = node
        self._tell = tell
        self._wanted: Counter[int] = Counter()
        self._followed: dict[int, tuple[Other, asyncio.Task[None]]] = {}

    def want(self, node_ids: Collection[int]) -> dict[int, Other]:
        """These of them, until they are left; this node itself is none of them.

        Nor is an id too many that no member has: one that is added may not be known here yet, but anybody may ask.
        """
        wanted = []
        for node_id in set(node_ids) - {self._node.node_id}:
            if node_id not in self._followed:
                if len(self._followed) >= OTHERS_MAX and self._address(node_id) is None:
                    continue
                other = Other(lambda node_id=node_id: self._address(node_id), self._tell)  # type: ignore[misc]
                self._followed[node_id] = other, asyncio.get_running_loop().create_task(other.follow())
            self._wanted[node_id] += 1
            wanted.append(node_id)
        return {node_id: self._followed[node_id][0] for node_id in wanted}

    def leave(self, node_ids: Collection[int]) -> None:
        """What :meth:`want` gave is wanted no more."""
        for node_id in node_ids:
            self._wanted[node_id] -= 1
            if not self._wanted[node_id]:
                del self._wanted[node_id]
                self._followed.pop(node_id)[1].cancel()

    def _address(self, node_id: int) -> str | None:
        membership = self._node.status.membership
        members = () if membership is None else membership.members
        return next((member.address for member in members if member.node_id == node_id), None)
