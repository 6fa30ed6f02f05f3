"""Puts the parts of a running node together, once it is known what the cluster began with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from quorate.config import RaftConfig
from quorate.machine.router import Router
from quorate.node.abstention import ELECTION_TIMEOUTS, Abstention
from quorate.node.conditions import Conditions
from quorate.node.durable import DurableState
from quorate.node.events import EventStream
from quorate.node.figures import Figures
from quorate.node.group import GROUP, Group, ticks
from quorate.node.membership import Membership
from quorate.node.peers import Peers
from quorate.node.roster import Roster
from quorate.node.running import Running
from quorate.node.snapshots.service import Snapshots
from quorate.raft.core import RaftCore
from quorate.raft.membership import Configuration
from quorate.storage.writer import Writer, WriterFactory
from quorate.transport.contract import Transport, WireMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """What is there before the group is, and what it reports to."""

    config: RaftConfig
    router: Router
    durable: DurableState
    transport: Transport
    peers: Peers
    events: EventStream
    conditions: Conditions
    rng: Random
    wall_clock_us: Callable[[], int]
    make_writer: WriterFactory
    on_failure: Callable[[BaseException], None]
    figures: Figures


def assemble(wiring: Wiring, beginning: Configuration) -> Running:
    """Make the parts, of a cluster that began with the members in ``beginning``."""
    if not list(beginning):
        wiring.router.joins_others()
    writer, group = _make_group(wiring, beginning)
    membership = _make_membership(wiring, group)
    group.on_turn = membership.noticed
    return Running(writer, group, membership, _make_snapshots(wiring, group), wiring.durable.store, wiring.transport)


def _make_group(wiring: Wiring, beginning: Configuration) -> tuple[Writer, Group]:
    config, router, durable, transport = wiring.config, wiring.router, wiring.durable, wiring.transport
    recovered = durable.store.recovered
    holds_data = bool(router.machines) and not router.is_witness
    core = RaftCore(
        config.core_config(),
        beginning,
        recovered,
        durable.store,
        wiring.rng,
        applied=router.applied if holds_data else recovered.floor.index,
        committed=router.applied_by_any,
        now=ticks(asyncio.get_running_loop().time()),
    )

    def persisted(ticket: int) -> None:
        group.persisted(ticket)

    def failed(error: BaseException) -> None:
        group.fail(error)

    def send(peer: int, messages: Sequence[WireMessage]) -> None:
        transport.send(peer, GROUP, messages)

    def send_but_votes(peer: int, messages: Sequence[WireMessage]) -> None:
        if messages := abstention.of(messages):
            transport.send(peer, GROUP, messages)

    abstention = Abstention(asyncio.get_running_loop().time, ELECTION_TIMEOUTS * config.election_timeout_ms / 1000)
    writer = wiring.make_writer(durable.store, persisted, failed, asyncio.get_running_loop())
    group = Group(
        core,
        config=config,
        router=router,
        writer=writer,
        send=send if durable.store.power_loss is None else send_but_votes,
        connected=wiring.peers.connected_ids,
        events=wiring.events,
        rng=wiring.rng,
        wall_clock_us=wiring.wall_clock_us,
        on_failure=wiring.on_failure,
        figures=wiring.figures,
    )
    return writer, group


def _make_membership(wiring: Wiring, group: Group) -> Membership:
    identity, peers = wiring.durable.identity, wiring.peers
    seeds = {*peers.book.peer_addresses, *(known.address for known in identity.peers.values())}
    roster = Roster(
        wiring.config.node_id,
        identity.store,
        seeds - {wiring.config.address},
        {**peers.met, **identity.peers},
        peers.connected_ids,
    )
    return Membership(
        group,
        roster,
        wiring.durable,
        wiring.transport,
        wiring.conditions,
        wiring.events,
        on_witness=wiring.router.become_witness,
        on_lost_data=wiring.router.joins_others,
    )


def _make_snapshots(wiring: Wiring, group: Group) -> Snapshots:
    return Snapshots(
        wiring.config,
        group,
        wiring.router,
        wiring.durable,
        wiring.transport,
        connected=wiring.peers.connected_ids,
        events=wiring.events,
        first_number=wiring.rng.getrandbits(62),
    )
