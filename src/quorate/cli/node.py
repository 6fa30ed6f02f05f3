"""``quorate node``: one node in the foreground, until SIGINT or SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from quorate.app import load_app
from quorate.config import NodeConfig, Preset, load_node_config
from quorate.web.server import NodeServer

log = logging.getLogger("quorate")

SWITCH_INTERVAL_SECONDS = 0.0005
"""How long the event loop may keep the interpreter once the writer's thread, back from an fsync, wants it."""


def node(
    node_id: Annotated[int | None, typer.Option(help="This node's number, unique in the cluster.")] = None,
    port: Annotated[int | None, typer.Option(help="Port for HTTP and peers. [default: 8080]")] = None,
    peers: Annotated[
        str | None, typer.Option(help="The other nodes: host:port, bare ports, or id@host:port, by commas.")
    ] = None,
    data_dir: Annotated[str | None, typer.Option(help="Where everything durable is. [default: data]")] = None,
    app: Annotated[str | None, typer.Option(help="The models to serve, as package.module:attribute.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on and announce. [default: 127.0.0.1]")] = None,
    advertise: Annotated[str | None, typer.Option(help="host:port to announce instead.")] = None,
    cluster_id: Annotated[str | None, typer.Option(help="The cluster's name. [default: quorate]")] = None,
    preset: Annotated[Preset | None, typer.Option(help="Timings for the kind of network. [default: lan]")] = None,
    forward_writes: Annotated[
        bool | None, typer.Option("--forward-writes", help="Pass writes on to the leader instead of redirecting.")
    ] = None,
    lease_reads: Annotated[
        bool | None, typer.Option("--lease-reads", help="Strong reads on the leader's lease: trusts the clocks.")
    ] = None,
    max_body_bytes: Annotated[int | None, typer.Option(help="The largest request body. [default: 8 MiB]")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file with the same settings.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error. [default: info]")] = None,
) -> None:
    """Run one node. Every option can also be a QUORATE_… variable or a line in the --config file."""
    flags = {name: value for name, value in locals().items() if name != "config" and value is not None}
    settings = load_node_config(config, flags)
    logging.basicConfig(
        level=settings.log_level.upper(),
        format=f"%(asctime)s %(levelname)-7s node {settings.node_id} %(name)s: %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # what it says of itself is no news about the node
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings))


async def _serve(settings: NodeConfig) -> None:
    server = NodeServer(settings, load_app(settings.app) if settings.app else None)
    loop = asyncio.get_running_loop()
    asked_to_stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked_to_stop.set)
    if not settings.peers:
        log.warning("no --peers: node %d is a cluster of its own, which no failure may hit", settings.node_id)
    await server.start()
    log.info("node %d serves http://%s", settings.node_id, settings.address)
    failure = loop.create_task(server.wait_stopped())
    stop = loop.create_task(asked_to_stop.wait())
    try:
        await asyncio.wait((failure, stop), return_when=asyncio.FIRST_COMPLETED)
        if failure.done():
            failure.result()
    finally:
        stop.cancel()
        failure.cancel()
        log.info("node %d stops", settings.node_id)
        await server.stop()
