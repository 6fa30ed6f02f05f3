"""A cluster of real node processes on this machine: what the demo, the benchmark and the end-to-end tests run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from quorate.errors import ConfigError, QuorateError
from quorate.ops.cluster_status import Report, fetch_status, leading
from quorate.ops.local_node import HOST, LocalNode
from quorate.ops.local_process import stop_processes
from quorate.ops.local_worker import LocalWorker
from quorate.ops.ports import check_port_free
from quorate.rest.http_client import HttpClient, RequestFailed

FORM_SECONDS_MAX = 60.0
POLL_SECONDS = 0.02
LEADER_POLL_SECONDS = 0.005

Progress = Callable[[Mapping[int, str]], None]
"""Told what every node is doing, by its id, as long as not all of them are ready."""


class ClusterNotFormed(QuorateError):
    """The nodes run but do not serve."""


class NoProgress(QuorateError):
    """The nodes serve, but the cluster did not do in time what was waited for."""


class LocalCluster:
    """``async with LocalCluster(directory, ports) as cluster`` — leaving it stops every process.

    Node number N listens on ``ports[N - 1]`` and keeps its data in ``directory/nodeN`` and its log in
    ``directory/nodeN.log``. ``app`` is imported from ``cwd``; ``arguments`` are added to every command line.
    """

    def __init__(
        self,
        directory: Path,
        ports: Sequence[int],
        *,
        app: str | None = None,
        cwd: Path | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        directory = directory.absolute()  # the nodes may run in another one
        app_arguments = ("--app", app) if app else ()
        self._directory = directory
        self._common = (*app_arguments, *arguments)
        self._app = app
        self._cwd = cwd
        self.workers: list[LocalWorker] = []
        self.nodes: dict[int, LocalNode] = {}
        for node_id, port in enumerate(ports, start=1):
            peers = ",".join(f"{number}@{HOST}:{other}" for number, other in enumerate(ports, 1) if other != port)
            flags = ("--peers", peers, *self._common) if peers else self._common
            self.nodes[node_id] = LocalNode(node_id, port, directory / f"node{node_id}", flags, cwd)
        self.client = HttpClient()

    # -- life --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start every process. Raises :class:`ConfigError` if a port is busy or a directory cannot be made."""
        for node in self.nodes.values():
            check_port_free(HOST, node.port)
        for node in self.nodes.values():
            try:
                node.start()
            except OSError as error:
                raise ConfigError(f"cannot use {node.data_dir.parent}: {error.strerror}") from error

    def start_joining(self, node_id: int, port: int, *arguments: str) -> LocalNode:
        """Start one more process, which waits to be added to the cluster; it is stopped like the others."""
        peers = ",".join(f"{node.node_id}@{node.address}" for node in self.nodes.values())
        flags = ("--join", "--peers", peers, *self._common, *arguments)
        node = LocalNode(node_id, port, self._directory / f"node{node_id}", flags, self._cwd)
        self.nodes[node_id] = node
        node.start()
        return node

    def start_worker(self, *arguments: str) -> LocalWorker:
        """Start a worker, which does the tasks of the app; it is stopped before the nodes are."""
        assert self._app is not None, "without an app there are no tasks"
        number = len(self.workers) + 1
        addresses = [node.address for node in self.nodes.values()]
        log_path = self._directory / f"worker{number}.log"
        worker = LocalWorker(number, log_path, self._app, addresses, arguments, self._cwd)
        self.workers.append(worker)
        worker.start()
        return worker

    async def wait_formed(self, progress: Progress | None = None, timeout: float = FORM_SECONDS_MAX) -> None:
        """Return when every node says that it is ready to serve.

        Raises :class:`~quorate.ops.local_process.ProcessEnded` as soon as one of them ends, and
        :class:`ClusterNotFormed` after ``timeout`` seconds.
        """
        states: dict[int, str] = {}
        try:
            async with asyncio.timeout(timeout):
                while set(states.values()) != {"ready"}:
                    self.check_running()
                    reports = await asyncio.gather(*(self._health(node) for node in self.nodes.values()))
                    states = dict(zip(self.nodes, reports, strict=True))
                    if progress is not None:
                        progress(states)
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            told = ", ".join(f"node {node_id}: {state}" for node_id, state in states.items())
            raise ClusterNotFormed(f"the cluster was not ready within {timeout:g} s ({told})") from None

    async def _health(self, node: LocalNode) -> str:
        try:
            response = await self.client.get(f"{node.url}/health")
            return "ready" if response.status == 200 else str(response.json().get("reason", "joining"))
        except (RequestFailed, ValueError):
            return "starting"

    def check_running(self) -> None:
        """Raises :class:`~quorate.ops.local_process.ProcessEnded` if a process ended that was not asked to."""
        for process in (*self.nodes.values(), *self.workers):
            process.check_running()

    async def stop(self) -> list[int]:
        """Stop what still runs, all at once, by force if need be. The exit codes of those that ran."""
        codes = await stop_processes(self.workers)
        return codes + await stop_processes(self.nodes.values())

    async def __aenter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self.stop()
        finally:
            await self.client.aclose()

    # -- what it is --------------------------------------------------------------------------------------

    @property
    def urls(self) -> list[str]:
        """Where the nodes are reached."""
        return [node.url for node in self.nodes.values()]

    async def statuses(self) -> list[Report]:
        """Every node's report."""
        return await asyncio.gather(*(fetch_status(self.client, node.address) for node in self.nodes.values()))

    async def leader(self, *, not_one_of: Sequence[int] = (), timeout: float = 10.0) -> LocalNode:
        """The node that leads the highest term, once one does. Raises :class:`TimeoutError`."""
        candidates = [node for node in self.nodes.values() if node.node_id not in not_one_of and not node.is_paused]
        async with asyncio.timeout(timeout):
            while True:
                asked = [fetch_status(self.client, node.address) for node in candidates if node.is_running]
                if (report := leading(await asyncio.gather(*asked))) is not None:
                    return self.nodes[report["node_id"]]
                await asyncio.sleep(LEADER_POLL_SECONDS)

    async def wait_caught_up(self, timeout: float = 30.0) -> int:
        """Return once every running node has applied what the leader has committed by now; that index."""
        leader = await self.leader(timeout=timeout)
        target = (await fetch_status(self.client, leader.address))["commit_index"]
        async with asyncio.timeout(timeout):
            while True:
                running = [node for node in self.nodes.values() if node.is_running and not node.is_paused]
                reports = await asyncio.gather(*(fetch_status(self.client, node.address) for node in running))
                if all(report.get("applied_index", -1) >= target for report in reports):
                    return int(target)
                await asyncio.sleep(POLL_SECONDS)
