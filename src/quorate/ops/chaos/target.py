"""The cluster under attack, one that runs somewhere or is brought along; and what can be done to its nodes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from quorate.errors import ConfigError, QuorateError
from quorate.ops.cluster_status import Report, fetch_status, lacks, leading
from quorate.ops.local_cluster import LocalCluster, NoProgress
from quorate.ops.members import ClusterMembers
from quorate.ops.ports import free_ports
from quorate.rest.http_client import HttpClient, RequestFailed, Response

STATUS_SECONDS = 1.0
ADMINISTER_SECONDS = 5.0
LOOKS = 5
"""So often a node is asked at the beginning that does not answer within ``STATUS_SECONDS``."""
POLL_SECONDS = 0.02
SETTLE_SECONDS_MAX = 60.0
"""So long after a fault the cluster may take to be whole again; its supervisor's share included."""
LEADER_SECONDS_MAX = 10.0
"""So long a cluster that was whole may take until it is known who leads."""
ENDED_SECONDS_MAX = 20.0
REMOVED = 3
"""What a node ends with that is no member any more."""
VOTERS_MIN = 3
"""With fewer, the loss of one is the loss of the majority, and nothing could be expected of what is left."""

HINTS = {
    "unreachable": " (does a supervisor start it again?)",
    "no answer": " (somebody listens there, and does not answer in time)",
    "not a node": " (something answers there, but with no node's status)",
}
HOLDING_DATA = ("voter", "learner")

HTTP_OK = range(200, 300)


class Target:
    """A running cluster whose nodes were started with ``--allow-faults``: ``async with Target(addresses) as target``.

    A node that ends is expected to be started again by whatever runs it.
    """

    name = "a running cluster"
    stays = True
    """Whether it is still there when the run is over."""

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
        reports = await asyncio.gather(*(self._first_report(address) for address in self._given))
        named = dict(zip(self._given, reports, strict=True))
        check_named(named)
        for address, report in named.items():
            if report["member_role"] in HOLDING_DATA:
                self.addresses[report["node_id"]] = address
        try:
            await asyncio.gather(*(self.clear(node_id) for node_id in self.addresses))
        except QuorateError as error:
            raise ConfigError(str(error)) from None
        self.voters = sorted(report["node_id"] for report in reports if report["member_role"] == "voter")

    async def _first_report(self, address: str) -> Report:
        """What a node says; one that does not answer is asked a few times: it may be busy, or wake up just now."""
        for _ in range(LOOKS - 1):
            report = await fetch_status(self.http, address)
            if report.get("error") != "no answer":
                return report
        return await fetch_status(self.http, address)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self.heal()
        finally:
            await self.http.aclose()

    async def heal(self) -> None:
        """Take back whatever is injected, as far as nodes can be reached; elsewhere it ends by itself."""
        await asyncio.gather(*(self.clear(node_id) for node_id in self.addresses), return_exceptions=True)

    # -- what it is --------------------------------------------------------------------------------------

    async def statuses(self) -> dict[int, Report]:
        """Every node's report."""
        reports = await asyncio.gather(*(fetch_status(self.http, address) for address in self.addresses.values()))
        return dict(zip(self.addresses, reports, strict=True))

    async def leader(self) -> int:
        """Who leads, once somebody does. Raises :class:`NoProgress`."""
        deadline = time.monotonic() + LEADER_SECONDS_MAX
        while time.monotonic() < deadline:
            if (found := leading((await self.statuses()).values())) is not None:
                return int(found["node_id"])
            await asyncio.sleep(POLL_SECONDS)
        raise NoProgress(f"nobody leads after {LEADER_SECONDS_MAX:g} s")

    async def settle(self, seconds_max: float = SETTLE_SECONDS_MAX) -> float:
        """Wait until every voter is there, follows and has caught up; how many seconds that took.

        Raises :class:`NoProgress`, which says what is missing.
        """
        began = time.monotonic()
        missing = "nothing was heard"
        while time.monotonic() < began + seconds_max:
            self._tend()
            missing = self._missing(await self.statuses())
            if not missing:
                return time.monotonic() - began
            await asyncio.sleep(POLL_SECONDS)
        raise NoProgress(f"{seconds_max:g} s later the cluster is not whole again: {missing}")

    def _missing(self, reports: Mapping[int, Report]) -> str:
        """What keeps the cluster from being whole, node by node; empty if nothing does."""
        leader = leading(reports.values())
        committed = 0 if leader is None else leader["commit_index"]
        found = [
            f"node {node_id} ({self.addresses[node_id]}) {why}{self._hint(node_id, reports[node_id])}"
            for node_id in self.voters
            if (why := lacks(reports[node_id], committed))
        ]
        return "; ".join(found if leader is not None else ["nobody leads", *found])

    def _hint(self, node_id: int, report: Report) -> str:
        """What may be behind it that a node is not as it should be."""
        return HINTS.get(report.get("error", ""), "")

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
        """End a node without a word; returns when it has ended. Raises :class:`QuorateError`."""
        await self._end(node_id, "/crash")

    async def restart(self, node_id: int) -> None:
        """Have a node stop in order, and be started again; returns when it has ended. Raises :class:`QuorateError`."""
        await self._end(node_id, "/stop")

    async def _end(self, node_id: int, path: str) -> None:
        ran_seconds = await self._ran_seconds(node_id)
        await self._administer("POST", node_id, path)
        await self._wait_ended(node_id, ran_seconds, ENDED_SECONDS_MAX)

    async def let_end(self, node_id: int, seconds: float, **faults: Any) -> bool:
        """Break a node so that it cannot go on; whether it has ended within ``seconds``.

        Raises :class:`QuorateError`.
        """
        ran_seconds = await self._ran_seconds(node_id)
        await self.put(node_id, seconds, **faults)
        try:
            await self._wait_ended(node_id, ran_seconds, seconds)
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
        """Change the membership, as ``/cluster`` takes it. Raises :class:`QuorateError`.

        To its end, also if we are cancelled: what may still happen could not be taken back.
        """
        changing = asyncio.ensure_future(self._change(method, path, body))
        try:
            await asyncio.shield(changing)
        except asyncio.CancelledError:
            await asyncio.gather(changing, return_exceptions=True)
            raise

    async def _change(self, method: str, path: str, body: Any) -> None:
        async with ClusterMembers(list(self.addresses.values()), admin_token=self._admin_token) as members:
            await members.change(method, path, body)

    async def _ran_seconds(self, node_id: int) -> float:
        """For how long its process has run."""
        report = await fetch_status(self.http, self.addresses[node_id])
        return float(report.get("uptime_seconds", 0.0))

    async def _wait_ended(self, node_id: int, ran_seconds: float, seconds: float) -> None:
        """Return when nobody listens there, or another process does already. Raises :class:`NoProgress`.

        A node that is only slow to answer has not ended: the next one must not be stopped while it is still about to.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            report = await fetch_status(self.http, self.addresses[node_id])
            if report.get("error") == "unreachable" or report.get("uptime_seconds", ran_seconds) < ran_seconds:
                return
            await asyncio.sleep(POLL_SECONDS)
        raise NoProgress(f"node {node_id} did not end within {seconds:g} s")

    async def _administer(self, method: str, node_id: int, path: str, body: Any = None) -> None:
        url = f"http://{self.addresses[node_id]}/admin/faults{path}"
        content = None if body is None else json.dumps(body).encode()
        headers = {} if self._admin_token is None else {"authorization": f"Bearer {self._admin_token}"}
        try:
            response = await self.http.request(method, url, content, headers, timeout=ADMINISTER_SECONDS)
        except RequestFailed as error:
            raise QuorateError(f"node {node_id} could not be told to break: {error}") from None
        if response.status not in HTTP_OK:
            raise QuorateError(f"node {node_id} ({self.addresses[node_id]}) refuses to be broken: {_detail(response)}")


def check_named(reports: Mapping[str, Report]) -> None:
    """Raises :class:`ConfigError` if what was named, by address, is not all of one cluster that may be broken."""
    nodes: dict[int, str] = {}
    for address, report in reports.items():
        if "error" in report:
            raise ConfigError(f"the node at {address}: {report['error']}")
        if report.get("faults") is None:
            raise ConfigError(f"the node at {address} does not let itself be broken: start it with --allow-faults")
        if (other := nodes.setdefault(report["node_id"], address)) != address:
            raise ConfigError(f"{other} and {address} are the same node, or two clusters': name each node once")
    names = sorted({str(report["cluster_id"]) for report in reports.values()})
    if len(names) > 1:
        raise ConfigError(f"these are nodes of different clusters: {', '.join(names)}")
    known = [report["membership"] for report in reports.values() if report["membership"] is not None]
    members = max(known, key=lambda each: int(each["configuration_index"]))["members"] if known else []
    for member in members:
        if member["role"] in HOLDING_DATA and member["node_id"] not in nodes:
            raise ConfigError(
                f"name all nodes of the cluster: node {member['node_id']}, {member['address']}, is missing"
            )
    voters = [report["node_id"] for report in reports.values() if report["member_role"] == "voter"]
    if len(voters) < VOTERS_MIN:
        raise ConfigError(f"name all nodes of a cluster with {VOTERS_MIN} voters or more: here are {len(voters)}")


def _detail(response: Response) -> str:
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"it answered {response.status}: {response.text[:200]}"


class BroughtCluster(Target):
    """Nodes of its own on this machine, which it starts again itself; leaving it stops them all."""

    name = "a cluster of its own on this machine"
    stays = False

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

    def _hint(self, node_id: int, report: Report) -> str:
        return f", and wrote last: {self._cluster.nodes[node_id].last_log_line()}"

    def _tend(self) -> None:
        """A node that ended though nobody asked it to is a finding."""
        self._cluster.check_running()

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

    async def let_end(self, node_id: int, seconds: float, **faults: Any) -> bool:
        """See :meth:`Target.let_end`."""
        node = self._cluster.nodes[node_id]
        node.may_end()
        await self.put(node_id, seconds, **faults)
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
