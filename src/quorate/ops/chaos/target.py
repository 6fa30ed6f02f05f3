"""The cluster under attack, one that runs somewhere or is brought along; and what can be done to its nodes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from quorate.errors import ConfigError, QuorateError
from quorate.ops.cluster_status import Report, fetch_status, lacks, leading
from quorate.ops.local_cluster import LocalCluster, NoProgress
from quorate.ops.members import ClusterMembers
from quorate.ops.ports import free_ports
from quorate.rest.http_client import HttpClient, RequestFailed

STATUS_SECONDS = 1.0
POLL_SECONDS = 0.02
SETTLE_SECONDS_MAX = 60.0
"""So long after a fault the cluster may take to be whole again; its supervisor's share included."""
ENDED_SECONDS_MAX = 20.0
REMOVED = 3
"""What a node ends with that is no member any more."""
VOTERS_MIN = 3
"""With fewer, the loss of one is the loss of the majority, and nothing could be expected of what is left."""

HTTP_OK = range(200, 300)


class Target:
    """A running cluster whose nodes were started with ``--allow-faults``: ``async with Target(addresses) as target``.

    A node that ends is expected to be started again by whatever runs it.
    """

    name = "a running cluster"

    def __init__(self, addresses: Sequence[str], admin_token: str | None = None) -> None:
        """``admin_token`` is sent with whatever administers."""
        self.addresses: dict[int, str] = {}
        """Of the nodes that hold data, by their ids."""
        self.voters: list[int] = []
        """Those to which things may be done."""
        self.http = HttpClient(timeout=STATUS_SECONDS)
        self._given = list(addresses)
        self._admin_token = admin_token

    async def __aenter__(self) -> Self:
        try:
            await self._look()
        except BaseException:
            await self.http.aclose()
            raise
        return self

    async def _look(self) -> None:
        reports = await asyncio.gather(*(fetch_status(self.http, address) for address in self._given))
        for address, report in zip(self._given, reports, strict=True):
            if "error" in report:
                raise ConfigError(f"the node at {address}: {report['error']}")
            if report.get("faults") is None:
                raise ConfigError(f"the node at {address} does not let itself be broken: start it with --allow-faults")
            if report["member_role"] in ("voter", "learner"):
                self.addresses[report["node_id"]] = address
        try:
            await asyncio.gather(*(self.clear(node_id) for node_id in self.addresses))
        except QuorateError as error:
            raise ConfigError(str(error)) from None
        self.voters = sorted(report["node_id"] for report in reports if report["member_role"] == "voter")
        if len(self.voters) < VOTERS_MIN:
            raise ConfigError(
                f"name all nodes of a cluster with {VOTERS_MIN} voters or more: here are {len(self.voters)}"
            )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await asyncio.gather(*(self.clear(node_id) for node_id in self.addresses), return_exceptions=True)
        finally:
            await self.http.aclose()

    # -- what it is --------------------------------------------------------------------------------------

    async def statuses(self) -> dict[int, Report]:
        """Every node's report."""
        reports = await asyncio.gather(*(fetch_status(self.http, address) for address in self.addresses.values()))
        return dict(zip(self.addresses, reports, strict=True))

    async def leader(self) -> int:
        """Who leads, once somebody does. Raises :class:`NoProgress`."""
        deadline = time.monotonic() + SETTLE_SECONDS_MAX
        while time.monotonic() < deadline:
            if (found := leading((await self.statuses()).values())) is not None:
                return int(found["node_id"])
            await asyncio.sleep(POLL_SECONDS)
        raise NoProgress(f"nobody leads after {SETTLE_SECONDS_MAX:g} s")

    async def settle(self) -> float:
        """Wait until every voter is there, follows and has caught up; how many seconds that took.

        Raises :class:`NoProgress`, which says what is missing.
        """
        began = time.monotonic()
        missing = "nothing was heard"
        while time.monotonic() < began + SETTLE_SECONDS_MAX:
            self._tend()
            missing = self._missing(await self.statuses())
            if not missing:
                return time.monotonic() - began
            await asyncio.sleep(POLL_SECONDS)
        raise NoProgress(f"after {SETTLE_SECONDS_MAX:g} s {missing}{self._hint()}")

    def _missing(self, reports: Mapping[int, Report]) -> str:
        leader = leading(reports.values())
        if leader is None:
            return "nobody leads"
        found = ((node_id, lacks(reports[node_id], leader["commit_index"])) for node_id in self.voters)
        return "; ".join(f"node {node_id} {why}" for node_id, why in found if why)

    def _hint(self) -> str:
        return ": is there a supervisor that starts the nodes again?"

    def _tend(self) -> None:
        """Look after the processes."""

    # -- what is done to it ------------------------------------------------------------------------------

    async def put(self, node_id: int, seconds: float, **faults: Any) -> None:
        """Have a node break itself, as ``PUT /admin/faults`` takes it. Raises :class:`QuorateError`."""
        await self._administer("PUT", node_id, "", {**faults, "seconds": seconds})

    async def clear(self, node_id: int) -> None:
        """Take the faults back. Raises :class:`QuorateError`."""
        await self._administer("DELETE", node_id, "")

    async def crash(self, node_id: int) -> None:
        """End a node without a word. Raises :class:`QuorateError`."""
        await self._administer("POST", node_id, "/crash")

    async def restart(self, node_id: int) -> None:
        """Have a node stop in order, and be started again; returns when it has ended. Raises :class:`QuorateError`."""
        await self._administer("POST", node_id, "/stop")
        await self._until(node_id, lambda report: "error" in report)

    async def end_by_itself(self, node_id: int, seconds: float) -> bool:
        """Wait until a node that cannot go on has ended; whether it has within ``seconds``."""
        try:
            await self._until(node_id, lambda report: "error" in report, seconds)
        except NoProgress:
            return False
        return True

    async def bring_back(self, node_id: int) -> None:
        """Start a node that has ended; one of a running cluster is started by its supervisor."""

    async def start_newcomer(self) -> tuple[int, str] | None:
        """(id, address) of a new node that waits to be added, where there can be one."""
        return None

    async def dismiss(self, node_id: int) -> None:
        """A newcomer was removed, and is to end. Raises :class:`QuorateError`."""

    async def wait_votes(self, node_id: int) -> None:
        """Return once a new member votes. Raises :class:`QuorateError`."""
        async with ClusterMembers(list(self.addresses.values())) as members:
            await members.wait_for(node_id, SETTLE_SECONDS_MAX, role="voter", progress=lambda waiting: None)

    async def change(self, method: str, path: str, body: Any = None) -> None:
        """Change the membership, as ``/cluster`` takes it. Raises :class:`QuorateError`."""
        async with ClusterMembers(list(self.addresses.values()), admin_token=self._admin_token) as members:
            await members.change(method, path, body)

    async def _until(self, node_id: int, reached: Callable[[Report], bool], seconds: float = ENDED_SECONDS_MAX) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if reached(await fetch_status(self.http, self.addresses[node_id])):
                return
            await asyncio.sleep(POLL_SECONDS)
        raise NoProgress(f"node {node_id} did not end within {seconds:g} s")

    async def _administer(self, method: str, node_id: int, path: str, body: Any = None) -> None:
        url = f"http://{self.addresses[node_id]}/admin/faults{path}"
        content = None if body is None else json.dumps(body).encode()
        headers = {} if self._admin_token is None else {"authorization": f"Bearer {self._admin_token}"}
        try:
            response = await self.http.request(method, url, content, headers)
        except RequestFailed as error:
            raise QuorateError(f"node {node_id} could not be told to break: {error}") from None
        if response.status not in HTTP_OK:
            raise QuorateError(f"{method} {url} was answered with {response.status}: {response.text[:200]}")


class BroughtCluster(Target):
    """Nodes of its own on this machine, which it starts again itself; leaving it stops them all."""

    name = "a cluster of its own on this machine"

    def __init__(self, directory: Path, ports: Sequence[int]) -> None:
        self._cluster = LocalCluster(directory, ports, arguments=("--allow-faults",))
        self._newest = len(ports)
        super().__init__([node.address for node in self._cluster.nodes.values()])

    async def __aenter__(self) -> Self:
        await self._cluster.__aenter__()
        try:
            await self._cluster.wait_formed()
            return await super().__aenter__()
        except BaseException:
            await self._cluster.__aexit__(None, None, None)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self.http.aclose()
        finally:
            await self._cluster.__aexit__(kind, error, traceback)

    def _hint(self) -> str:
        return ""

    def _tend(self) -> None:
        """A node that ended though nobody asked it to is a finding."""
        self._cluster.check_running()

    def logs(self) -> Iterable[Path]:
        """Where the nodes' logs are."""
        return [node.log_path for node in self._cluster.nodes.values()]

    async def crash(self, node_id: int) -> None:
        """``kill -9``."""
        self._cluster.nodes[node_id].kill_and_reap()

    async def restart(self, node_id: int) -> None:
        """SIGTERM, and a new process once the old one has ended."""
        node = self._cluster.nodes[node_id]
        node.terminate()
        code = await node.wait_ended(ENDED_SECONDS_MAX)
        if code:
            raise QuorateError(f"node {node_id} was told to stop and ended with {code}: {node.last_log_line()}")
        node.start()

    async def end_by_itself(self, node_id: int, seconds: float) -> bool:
        """See :meth:`Target.end_by_itself`."""
        node = self._cluster.nodes[node_id]
        node.may_end()
        try:
            await node.wait_ended(seconds)
        except TimeoutError:
            node.kill_and_reap()
            return False
        return True

    async def start_newcomer(self) -> tuple[int, str] | None:
        """See :meth:`Target.start_newcomer`."""
        self._newest += 1
        (port,) = free_ports(1)
        node = self._cluster.start_joining(self._newest, port)
        return node.node_id, node.address

    async def dismiss(self, node_id: int) -> None:
        """See :meth:`Target.dismiss`."""
        node = self._cluster.nodes[node_id]
        node.may_end()
        try:
            code = await node.wait_ended(ENDED_SECONDS_MAX)
        except TimeoutError:
            raise NoProgress(f"node {node_id} was removed, and goes on") from None
        finally:
            node.kill_and_reap()
            del self._cluster.nodes[node_id]
        if code != REMOVED:
            raise QuorateError(f"node {node_id} was removed and ended with {code}: {node.last_log_line()}")

    async def bring_back(self, node_id: int) -> None:
        """Start the process again."""
        node = self._cluster.nodes[node_id]
        if not node.is_running:
            node.start()
