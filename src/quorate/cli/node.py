"""``quorate node``: one node in the foreground, until SIGINT or SIGTERM; a second one stops it at once."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop

from quorate.app import load_app
from quorate.config import NodeConfig, Preset, load_node_config, unknown_settings
from quorate.logs import LogFormat, begin_logging
from quorate.machine.garbage import rare_garbage_collections
from quorate.node.node import Node
from quorate.notify import ServiceManager, keep_told
from quorate.ops.recoveries import recoveries_told
from quorate.storage.settings import StorageProfile
from quorate.web.server import NodeServer

log = logging.getLogger("quorate")

SWITCH_INTERVAL_SECONDS = 0.0005
"""How long the event loop may keep the interpreter once the writer's thread, back from an fsync, wants it."""


def node(
    node_id: Annotated[int | None, typer.Option(help="This node's number, unique in the cluster.")] = None,
    node_id_from_hostname: Annotated[
        bool | None,
        typer.Option("--node-id-from-hostname", help="... or that of the host's name and one: quorate-0 is node 1."),
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port for HTTP, Redis clients and peers.", show_default="8080")
    ] = None,
    peers: Annotated[
        str | None, typer.Option(help="The other nodes: host:port, bare ports, or id@host:port, by commas.")
    ] = None,
    join: Annotated[
        bool | None, typer.Option("--join", help="Wait to be added to a running cluster (quorate members add).")
    ] = None,
    data_dir: Annotated[str | None, typer.Option(help="Where everything durable is.", show_default="data")] = None,
    app: Annotated[str | None, typer.Option(help="The models to serve, as package.module:attribute.")] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on and announce.", show_default="127.0.0.1")
    ] = None,
    advertise: Annotated[str | None, typer.Option(help="host:port to announce instead.")] = None,
    cluster_id: Annotated[str | None, typer.Option(help="The cluster's name.", show_default="quorate")] = None,
    peer_transport: Annotated[
        str | None, typer.Option(help="How to dial the others: tcp or websocket.", show_default="tcp")
    ] = None,
    preset: Annotated[Preset | None, typer.Option(help="Timings for the kind of network.", show_default="lan")] = None,
    forward_writes: Annotated[
        bool | None, typer.Option("--forward-writes", help="Pass writes on to the leader instead of redirecting.")
    ] = None,
    lease_reads: Annotated[
        bool | None, typer.Option("--lease-reads", help="Strong reads on the leader's lease: trusts the clocks.")
    ] = None,
    admin_sql: Annotated[
        bool | None, typer.Option("--admin-sql", help="Serve POST /admin/sql: reads of the models, in SQL.")
    ] = None,
    allow_faults: Annotated[
        bool | None, typer.Option("--allow-faults", help="Let quorate chaos break this node: not in production.")
    ] = None,
    admin_token_file: Annotated[
        str | None, typer.Option(help="A file with what administration must show; or QUORATE_ADMIN_TOKEN.")
    ] = None,
    storage_profile: Annotated[
        StorageProfile | None,
        typer.Option(help="What an acknowledged write is worth (docs/storage.md).", show_default="durable"),
    ] = None,
    enable_binary: Annotated[
        bool | None, typer.Option("--enable-binary/--no-enable-binary", help="Binary log files, or JSON in lines.")
    ] = None,
    fsync_on_append: Annotated[
        bool | None,
        typer.Option("--fsync-on-append/--no-fsync-on-append", help="Sync entries before they are acknowledged."),
    ] = None,
    flush_interval_ms: Annotated[
        int | None, typer.Option(help="Without that: no entry waits longer than this for its sync.")
    ] = None,
    buffer_size: Annotated[int | None, typer.Option(help="... and no more bytes than this.")] = None,
    max_events_buffer: Annotated[int | None, typer.Option(help="... and no more entries than this.")] = None,
    event_max_batch: Annotated[int | None, typer.Option(help="Entries written in one go at most.")] = None,
    opt_persist: Annotated[
        bool | None, typer.Option("--opt-persist/--no-opt-persist", help="Write in a thread of its own, or not.")
    ] = None,
    snapshot_threshold: Annotated[
        int | None, typer.Option(help="Cut the log when so many applied entries could be.", show_default="10000")
    ] = None,
    snapshot_interval_ms: Annotated[
        int | None, typer.Option(help="... or when the last cut is so long ago.", show_default="300000")
    ] = None,
    max_body_bytes: Annotated[int | None, typer.Option(help="The largest request body.", show_default="16 MiB")] = None,
    resp_port: Annotated[int | None, typer.Option(help="A port for the Redis protocol alone, beside --port.")] = None,
    kv_password: Annotated[
        str | None, typer.Option(help="What Redis clients must AUTH with; better as QUORATE_KV_PASSWORD.")
    ] = None,
    maxmemory: Annotated[
        str | None,
        typer.Option(help="Refuse commands that need more for keys than this (2gb).", show_default="no bound"),
    ] = None,
    notify_keyspace_events: Annotated[
        str | None, typer.Option(help="Changes of keys to tell subscribers of, by Redis' letters (KEA: all).")
    ] = None,
    statistics_seconds: Annotated[
        float | None, typer.Option(help="Write statistics into the log this often.", show_default="0, never")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file with the same settings.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.", show_default="info")] = None,
    log_format: Annotated[
        LogFormat | None, typer.Option(help="Lines for people, or a JSON object in each.", show_default="console")
    ] = None,
    log_file: Annotated[str | None, typer.Option(help="A file for the log.", show_default="standard error")] = None,
    log_rotate_mb: Annotated[
        int | None, typer.Option(help="Begin a new file when it has so many megabytes; 0: never.", show_default="100")
    ] = None,
    log_backups: Annotated[int | None, typer.Option(help="So many older files are kept.", show_default="5")] = None,
) -> None:
    """Run one node. Every option can also be a QUORATE_… variable or a line in the --config file."""
    flags = {name: value for name, value in locals().items() if name != "config" and value is not None}
    settings = load_node_config(config, flags)
    begin_logging(settings.log, {"node_id": settings.node_id})
    for line in unknown_settings(os.environ):
        log.warning("%s", line)
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings))


async def _serve(settings: NodeConfig) -> None:
    for line in recoveries_told(settings.data_dir):
        log.warning("%s", line)
    server = NodeServer(settings, load_app(settings.app) if settings.app else None)
    asked = _signals(has_log_file=settings.log_file is not None)
    await server.start()
    rare_garbage_collections()
    log.info("node %d serves http://%s and redis://%s", settings.node_id, settings.address, settings.address)
    _tell_if_alone(server.node, settings)
    manager = ServiceManager(os.environ)
    telling = asyncio.create_task(keep_told(server.node, manager))
    try:
        async with _first_of(server.wait_stopped(), asked.get()) as (failure, _):
            if failure.done():
                failure.result()
        log.info("node %d stops: it hands over and answers what it was asked; a second signal stops it at once",
                 settings.node_id)  # fmt: skip
        manager.tell("STOPPING=1")
        async with _first_of(server.stop(), asked.get()) as (stopped, _):
            if not stopped.done():
                log.warning("node %d stops at once", settings.node_id)
    finally:
        await server.stop_at_once()
        telling.cancel()
        log.info("node %d has stopped", settings.node_id)


def _tell_if_alone(node: Node, settings: NodeConfig) -> None:
    membership = node.status.membership
    members = membership.members if membership is not None else ()
    if settings.join and not members:
        log.info("node %d waits to be added: quorate members add %d@%s", settings.node_id, settings.node_id,
                 settings.address)  # fmt: skip
    elif [member.node_id for member in members] == [settings.node_id]:
        log.warning("node %d is a cluster of its own: nothing survives its loss", settings.node_id)


def _signals(*, has_log_file: bool) -> asyncio.Queue[int]:
    """The signals that ask the node to stop, as they come.

    SIGHUP is one of them, for the terminal is gone: unless the node was started with ``nohup``, or has a file for its
    log. Then it is what tools send that have renamed the file, of which the log becomes aware by itself.
    """
    asked: asyncio.Queue[int] = asyncio.Queue()
    stopping = [signal.SIGINT, signal.SIGTERM]
    if has_log_file:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    elif signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        stopping.append(signal.SIGHUP)
    for number in stopping:
        asyncio.get_running_loop().add_signal_handler(number, asked.put_nowait, number)
    return asked


@asynccontextmanager
async def _first_of(*work: Coroutine[Any, Any, Any]) -> AsyncIterator[list[asyncio.Task[Any]]]:
    """Run all of ``work`` until some of it is done; the rest is cancelled on leaving the block."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
