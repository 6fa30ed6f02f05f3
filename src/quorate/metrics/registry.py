"""All subjects of one node, in the text that a scraper asks for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from time import monotonic

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
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


SLICE_SECONDS = 0.001
"""A scrape keeps the event loop for so long at a time, or for one metric."""

OPENMETRICS = "application/openmetrics-text"
OPENMETRICS_VERSIONS = ("", "0.0.1", "1.0.0")
"""Those that a scraper may ask for to get 1.0.0, the latest of them."""
OPENMETRICS_TYPE = f"{OPENMETRICS}; version=1.0.0; charset=utf-8"
_END = b"# EOF\n"


class Metrics:
    """To be used on the event loop only, where what a metric reads does not change meanwhile."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._process = ProcessCollector(registry=CollectorRegistry())
        self._encoding = asyncio.Lock()
        """One at a time: or the slices of all who ask at once would come in one turn of the event loop."""

    async def text(self, accept: str) -> tuple[bytes, str]:
        """The metrics and their content type: OpenMetrics where ``accept`` names it, else the older text format.

        Others have the event loop in between: the figures of one subject are of one moment, those of two may be of two.
        """
        is_open = wants_openmetrics(accept)
        async with self._encoding:
            pieces = [piece async for piece in self._pieces(_open_piece if is_open else _plain_piece)]
        if is_open:
            pieces.append(_END)
        return b"".join(pieces), OPENMETRICS_TYPE if is_open else CONTENT_TYPE_PLAIN_0_0_4

    async def _pieces(self, encode: Callable[[Metric], bytes]) -> AsyncIterator[bytes]:
        ends = monotonic() + SLICE_SECONDS
        for subject in (*_subjects(self._sources), self._process.collect):
            for family in list(subject()):
                yield encode(family)
                if monotonic() >= ends:
                    await asyncio.sleep(0)
                    ends = monotonic() + SLICE_SECONDS


def wants_openmetrics(accept: str) -> bool:
    """Whether a header ``Accept`` (RFC 9110 §12.5.1) names a version of OpenMetrics that is spoken here."""
    for each in accept.split(","):
        name, *parameters = (part.strip() for part in each.split(";"))
        given = {key.strip().lower(): value.strip() for key, _, value in (part.partition("=") for part in parameters)}
        if name.lower() == OPENMETRICS and given.get("version", "") in OPENMETRICS_VERSIONS and not _is_zero(given):
            return True
    return False


def _is_zero(given: Mapping[str, str]) -> bool:
    return not given.get("q", "1").strip("0.")


def _plain_piece(family: Metric) -> bytes:
    # Names of ours need no escaping. To find that out takes as long as all the rest.
    return generate_latest(_Only(family), openmetrics.ALLOWUTF8)


def _open_piece(family: Metric) -> bytes:
    text: bytes = openmetrics.generate_latest(_Only(family), openmetrics.ALLOWUTF8)  # type: ignore[no-untyped-call]
    return text.removesuffix(_END)


class _Only(Collector):
    """One family, which is known already."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        return (self._family,)


def _subjects(sources: Sources) -> Iterator[Callable[[], Iterable[Metric]]]:
    """Each reads what it tells of when it is iterated over."""
    node = sources.node
    yield from (
        partial(consensus, node),
        partial(log, node, sources.disk_bytes),
        partial(peers, node),
        partial(process, node),
        partial(http, sources.requests),
    )
    for subject in _of_data(sources):
        yield partial(_without_samples, subject) if node.is_witness else subject
    if sources.resp is not None:
        yield partial(resp, sources.resp)


def _of_data(sources: Sources) -> Iterator[Callable[[], Iterable[Metric]]]:
    if sources.models is not None:
        yield partial(models, sources.models, sources.created)
    if sources.keys is not None:
        yield partial(keys, sources.keys)
    if sources.tasks is not None:
        yield partial(tasks, sources.tasks)


def _without_samples(subject: Callable[[], Iterable[Metric]]) -> Iterator[Metric]:
    """A witness holds no data: that there is none anywhere is not what it says."""
    for family in subject():
        family.samples.clear()
        yield family
