"""All subjects of one node, in the text that a scraper asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from quorate.kv.machine import KvMachine
from quorate.kv.server.service import Service
from quorate.metrics.consensus import consensus
from quorate.metrics.http import http
from quorate.metrics.kv import keys, resp
from quorate.metrics.log import DiskBytes, log
from quorate.metrics.models import models
from quorate.metrics.peers import peers
from quorate.metrics.process import process
from quorate.metrics.tasks import tasks
from quorate.models.machine import ModelsMachine
from quorate.node.node import Node
from quorate.rest.requests import Requests
from quorate.tasks.machine import TasksMachine


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where the numbers of one node come from. What it does not have is ``None``."""

    node: Node
    requests: Requests
    disk_bytes: DiskBytes
    models: ModelsMachine | None = None
    created: Callable[[], Mapping[str, int]] = dict
    """How many objects of each model requests to this node created."""
    keys: KvMachine | None = None
    resp: Service | None = None
    tasks: TasksMachine | None = None


class Metrics:
    """To be used on the event loop only, where what it reads does not change meanwhile."""

    def __init__(self, sources: Sources) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Subjects(sources))
        ProcessCollector(registry=self._registry)

    def text(self, accept: str) -> tuple[bytes, str]:
        """The metrics and their content type: OpenMetrics where ``accept`` names it, else the older text format."""
        encode, content_type = choose_encoder(accept)
        if content_type.startswith("application/openmetrics-text"):
            # Names of ours need no escaping. To find that out takes as long as all the rest.
            text = openmetrics.generate_latest(self._registry, openmetrics.ALLOWUTF8)  # type: ignore[no-untyped-call]
            return text, content_type
        return encode(self._registry), content_type


class _Subjects(Collector):
    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def collect(self) -> Iterable[Metric]:
        return _all(self._sources)


def _all(sources: Sources) -> Iterator[Metric]:
    node = sources.node
    yield from consensus(node)
    yield from log(node, sources.disk_bytes)
    yield from peers(node)
    yield from process(node)
    yield from http(sources.requests)
    if sources.models is not None:
        yield from models(sources.models, sources.created())
    if sources.keys is not None:
        yield from keys(sources.keys)
    if sources.resp is not None:
        yield from resp(sources.resp)
    if sources.tasks is not None:
        yield from tasks(sources.tasks)
