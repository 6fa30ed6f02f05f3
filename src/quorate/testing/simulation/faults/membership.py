"""Changes of the membership: no faults, but they come under all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from quorate.node.operations import Add, Demote, Promote, Remove, Transfer, Update
from quorate.raft.membership import Configuration, Member, MemberRole
from quorate.testing.simulation.faults.nemesis import Fault, Nemesis
from quorate.testing.simulation.host import Host
from quorate.testing.simulation.knowledge import Violation

VOTERS_MAX = 5


def configuration(nemesis: Nemesis) -> Configuration:
    """What a look at the leader shows, or what was committed last."""
    leader = nemesis.leader()
    core = leader.process.core if leader is not None and leader.process is not None else None
    return core.configuration if core is not None else nemesis.known.configuration


def _index(nemesis: Nemesis) -> int:
    leader = nemesis.leader()
    core = leader.process.core if leader is not None and leader.process is not None else None
    return core.log.configurations.index if core is not None else nemesis.known.configurations[-1][0]


def _member(nemesis: Nemesis, wanted: Callable[[Member], bool]) -> Member | None:
    found = [member for member in configuration(nemesis) if wanted(member)]
    return nemesis.rng.choice(found) if found else None


def _stranger(nemesis: Nemesis) -> Host | None:
    """A machine to add, with a node on it that waits. One that was a member before gets an empty disk first."""
    strangers = nemesis.administrator.strangers()
    if not strangers:
        return None
    host = nemesis.rng.choice(strangers)
    if host.starts and host.invariants.known.was_ever_member(host.node_id):
        host.wipe()
        nemesis.fired["re-add, emptied"] += 1
    host.joining = host.in_use = True
    host.start()
    return host


def _add(nemesis: Nemesis, role: MemberRole) -> str | None:
    if role is MemberRole.VOTER and len(configuration(nemesis).voters) >= VOTERS_MAX:
        return None
    host = _stranger(nemesis)
    if host is None:
        return None
    added = Add(node_id=host.node_id, address=host.address, role=role, priority=nemesis.rng.choice((1, 1, 2)))
    nemesis.administrator.start(nemesis.administrator.ask(added, expected_index=_maybe_expected(nemesis)))
    return f"node {host.node_id} as {role}"


def _maybe_expected(nemesis: Nemesis) -> int | None:
    return _index(nemesis) if nemesis.rng.random() < 0.3 else None


def _promote(nemesis: Nemesis) -> str | None:
    member = _member(nemesis, lambda each: each.role is MemberRole.LEARNER)
    if member is None or len(configuration(nemesis).voters) >= VOTERS_MAX:
        return None
    nemesis.administrator.start(nemesis.administrator.ask(Promote(node_id=member.node_id)))
    return f"node {member.node_id}"


def _demote(nemesis: Nemesis) -> str | None:
    if not nemesis.administrator.may_shrink:
        return None
    member = _member(nemesis, lambda each: each.role is MemberRole.VOTER and not each.leaving)
    if member is None or len(configuration(nemesis).voters) < 2:
        return None
    nemesis.administrator.start(nemesis.administrator.ask(Demote(node_id=member.node_id)))
    return f"node {member.node_id}"


def _remove(nemesis: Nemesis, *, leader: bool) -> str | None:
    if not nemesis.administrator.may_shrink or len(configuration(nemesis).members) < 2:
        return None
    host = nemesis.leader()
    if leader and (host is None or len(configuration(nemesis).voters) < 2):
        return None
    member = _member(nemesis, lambda each: not leader or (host is not None and each.node_id == host.node_id))
    if member is None:
        return None
    expected = _maybe_expected(nemesis)
    nemesis.administrator.start(nemesis.administrator.ask(Remove(node_id=member.node_id), expected_index=expected))
    return f"node {member.node_id}"


def _replace(nemesis: Nemesis) -> str | None:
    """Add a node, and remove another one as soon as the new one votes."""
    administrator = nemesis.administrator
    old = _member(nemesis, lambda each: each.role is MemberRole.VOTER and not each.leaving)
    new = _stranger(nemesis) if old is not None and not administrator.busy else None
    if old is None or new is None:
        return None
    seconds = nemesis.election_seconds * 6

    async def replace() -> None:
        await administrator.ask(Add(node_id=new.node_id, address=new.address))
        votes = await administrator.poll(lambda: new.node_id in nemesis.known.configuration.voters, seconds)
        if votes and administrator.may_shrink:
            await administrator.ask(Remove(node_id=old.node_id))

    administrator.start(replace())
    return f"node {old.node_id} by node {new.node_id}"


def _readd_kept(nemesis: Nemesis) -> str | None:
    """Who was removed comes back with what it had: it is told so, and may be taken in again, perhaps otherwise."""
    removed = [host for host in nemesis.administrator.strangers() if nemesis.known.was_ever_member(host.node_id)]
    if not removed:
        return None
    host = nemesis.rng.choice(removed)
    add_it = nemesis.rng.random() < 0.6
    role = nemesis.rng.choice(tuple(MemberRole))

    async def come_back() -> None:
        host.start()
        await asyncio.sleep(nemesis.election_seconds)
        if add_it:
            host.in_use = True
            await nemesis.administrator.ask(Add(node_id=host.node_id, address=host.address, role=role))
            if nemesis.known.may_be_member(host.node_id):
                host.start()

    nemesis.administrator.start(come_back())
    return f"node {host.node_id}" + (f", as {role}" if add_it else "")


def _turn(nemesis: Nemesis) -> str | None:
    """A witness is removed and taken in as a holder of data, or the other way round; what it has, it keeps."""
    administrator = nemesis.administrator
    member = _member(nemesis, lambda each: not each.leaving)
    if member is None or not administrator.may_shrink or len(configuration(nemesis).members) < 2:
        return None
    was_witness = member.role is MemberRole.WITNESS
    role = nemesis.rng.choice((MemberRole.VOTER, MemberRole.LEARNER)) if was_witness else MemberRole.WITNESS
    host = nemesis.everyone[member.node_id]

    async def turn() -> None:
        await administrator.ask(Remove(node_id=host.node_id))
        if not await administrator.poll(
            lambda: not nemesis.known.may_be_member(host.node_id), nemesis.election_seconds * 6
        ):
            return
        host.in_use = True
        await administrator.ask(Add(node_id=host.node_id, address=host.address, role=role))
        if nemesis.known.may_be_member(host.node_id):
            host.start()

    administrator.start(turn())
    return f"node {host.node_id}, a {member.role}, into a {role}"


def _move(nemesis: Nemesis) -> str | None:
    """A node restarts under another address. One at a time: the others have to be found where they were."""
    known = nemesis.known
    written_down = {(member.node_id, member.address) for each in known.possible for member in each}
    if any(address != nemesis.everyone[node_id].address for node_id, address in written_down):
        return None
    if len(known.configuration.members) < 2 or nemesis.administrator.busy:
        return None
    member = _member(nemesis, lambda each: each.node_id in known.configuration)
    if member is None:
        return None
    host = nemesis.everyone[member.node_id]
    host.kill(power=nemesis.rng.random() < 0.3)
    host.move()
    if nemesis.rng.random() < 0.3:
        update = Update(node_id=host.node_id, address=host.address)
        nemesis.administrator.start(nemesis.administrator.ask(update))
    return f"node {host.node_id} to {host.address}"


def _priority(nemesis: Nemesis) -> str | None:
    member = _member(nemesis, lambda each: each.role is MemberRole.VOTER)
    if member is None:
        return None
    update = Update(node_id=member.node_id, priority=nemesis.rng.randint(1, 3))
    nemesis.administrator.start(nemesis.administrator.ask(update, expected_index=_maybe_expected(nemesis)))
    return f"of node {member.node_id} is {update.priority}"


def _transfer(nemesis: Nemesis) -> str | None:
    member = _member(nemesis, lambda each: each.role is MemberRole.VOTER)
    if member is None:
        return None
    nemesis.administrator.start(nemesis.administrator.ask(Transfer(node_id=member.node_id)))
    return f"to node {member.node_id}"


def _conflict(nemesis: Nemesis) -> str | None:
    """Two administrators have looked at the same configuration: at most one of their changes may come about."""
    members = configuration(nemesis).members
    if not members:
        return None
    expected = _index(nemesis)
    changes = [
        Update(node_id=nemesis.rng.choice(members).node_id, priority=nemesis.rng.randint(1, 3)) for _ in range(2)
    ]

    async def both() -> None:
        asked = (nemesis.administrator.ask(change, expected_index=expected) for change in changes)
        results = await asyncio.gather(*asked)
        if min(results) > 0:
            raise Violation("of two changes for one configuration one comes about", f"{changes}, as entries {results}")

    nemesis.administrator.start(both())
    return f"two changes of the configuration of entry {expected}"


FAULTS = (
    Fault("add a voter", lambda nemesis: _add(nemesis, MemberRole.VOTER), weight=2.0, nodes_min=1),
    Fault("add a learner", lambda nemesis: _add(nemesis, MemberRole.LEARNER)),
    Fault("add a witness", lambda nemesis: _add(nemesis, MemberRole.WITNESS)),
    Fault("promote", _promote),
    Fault("demote", _demote),
    Fault("remove", lambda nemesis: _remove(nemesis, leader=False)),
    Fault("remove the leader", lambda nemesis: _remove(nemesis, leader=True)),
    Fault("replace", _replace),
    Fault("re-add, data kept", _readd_kept, weight=2.0),
    Fault("turn", _turn, weight=2.0),
    Fault("move to another address", _move),
    Fault("priority", _priority),
    Fault("transfer to a node", _transfer),
    Fault("compare and set", _conflict),
)
"""Kinds of changes."""
