"""Joint commands: one command in the log that several machines carry out, all of them or none.

Machines in the SQLite file do their parts inside one savepoint; a refusal of any part undoes them all. A machine that
answers from memory (:class:`CachedStateMachine`) has the last part: it is asked first whether it would refuse, and once
it has begun nobody may.

**Replay.** Machines in the file are flushed together, so of one joint command they have all done their parts, or none
has. A cached machine may stand further back, at its last checkpoint. Then its part has to be done again, but only if
the whole was carried out, and that cannot be judged any more: the others' states have gone on. So whatever was carried
out and has a cached part leaves a row in the same savepoint. Rows that lie before every checkpoint are removed, a few
with each that comes. They say what was done to this file, and so do not count as state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import GeneratorType

import msgspec

from quorate.errors import CommandFailed, ConfigError, ProtocolViolation, StorageFailed
from quorate.machine.cached import CachedHost
from quorate.machine.commands import Command
from quorate.machine.contract import ApplyContext, CachedStateMachine, DiskStateMachine, Machine
from quorate.machine.host import DiskHost, MemoryHost
from quorate.machine.sqlite import SqliteState

PARTS_MAX = 8
_FORGOTTEN_AT_ONCE = 8  # more than one, so that the table shrinks; few, so that no command pays for a purge


class Part(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What one machine does."""

    machine: str
    body: bytes


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(list[Part])


def encode_parts(parts: Sequence[Part]) -> bytes:
    """The body of a :data:`~quorate.machine.commands.JOINT` command."""
    return _encode(parts)


def decode_parts(body: bytes) -> list[Part]:
    """The inverse. Raises :class:`ProtocolViolation`: what is in the log must be readable."""
    try:
        return _decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise ProtocolViolation(f"a joint command cannot be read: {error}") from error


def check_parts(names: Sequence[str], machines: Mapping[str, Machine]) -> None:
    """Whether the ``machines`` of these names can do something together, in this order.

    Raises :class:`ConfigError`. A machine in memory alone cannot: behind a loss of power its snapshot may be ahead of
    the file, and nothing would tell a replay that it has done its part.
    """
    if not 0 < len(names) <= PARTS_MAX:
        raise ConfigError(f"a joint command has 1 to {PARTS_MAX} parts, not {len(names)}")
    for at, name in enumerate(names):
        machine = machines.get(name)
        if machine is None:
            raise ConfigError(f"this node runs no machine named {name!r}")
        if not isinstance(machine, DiskStateMachine):
            raise ConfigError(f"machine {name!r} lives in memory alone and can have no part in a joint command")
        if isinstance(machine, CachedStateMachine) and at != len(names) - 1:
            raise ConfigError(f"machine {name!r} answers from memory: its part must be the last, and the only such")
        if name in names[:at]:
            raise ConfigError(f"machine {name!r} has two parts in a joint command")


class _CarriedOut:
    """Which joint commands with a cached part were carried out, and how many ids were made before that part."""

    SCHEMA = """
    CREATE TABLE IF NOT EXISTS quorate_joint (
        entry_index INTEGER NOT NULL,
        position INTEGER NOT NULL,
        ids_made INTEGER NOT NULL,
        PRIMARY KEY (entry_index, position)
    ) STRICT, WITHOUT ROWID;
    """

    def __init__(self, state: SqliteState) -> None:
        self._connection = state.connection
        self._connection.execute(self.SCHEMA)

    def add(self, context: ApplyContext) -> None:
        """Its machines in the file have done their parts, and ``context`` has made their ids."""
        self._connection.execute(
            "INSERT INTO quorate_joint VALUES (?, ?, ?)", (context.index, context.position, context.ids_made)
        )

    def ids_made(self, context: ApplyContext) -> int | None:
        """By its machines in the file; ``None`` if it was refused."""
        found: int | None = self._connection.execute(
            "SELECT ids_made FROM quorate_joint WHERE entry_index = ? AND position = ?",
            (context.index, context.position),
        ).get
        return found

    def forget(self, index: int) -> None:
        """Remove some of those up to ``index``: nobody will have to do them again."""
        self._connection.execute(
            "DELETE FROM quorate_joint WHERE (entry_index, position) IN (SELECT entry_index, position "
            "FROM quorate_joint WHERE entry_index <= ? ORDER BY entry_index, position LIMIT ?)",
            (index, _FORGOTTEN_AT_ONCE),
        )


class Joints:
    """Applies joint commands to the machines of one group."""

    def __init__(self, hosts: Mapping[str, MemoryHost | DiskHost], state: SqliteState | None) -> None:
        self._hosts = hosts
        self._machines = {name: host.machine for name, host in hosts.items()}
        self._cached = [host for host in hosts.values() if isinstance(host, CachedHost)]
        self._state = state
        self._carried_out = _CarriedOut(state) if state is not None and self._cached else None

    def apply(self, command: Command, context: ApplyContext) -> object:
        """The parts' results, or the :class:`CommandFailed` with which one of them refused the whole.

        Raises :class:`StorageFailed` where this node cannot follow the others.
        """
        parts = decode_parts(command.body)
        on_disk, cached = self._taking_part(parts, context)
        behind = [host for host in on_disk if host.applied < context.index]
        if behind and len(behind) < len(on_disk):
            raise StorageFailed(f"the machines of the joint command in entry {context.index} stand at different ones")
        if cached is not None and context.index <= cached.applied:
            # Of a command that was carried out, the row is committed before any checkpoint behind it, and with it the
            # index of those in the file. If they are behind nevertheless, it was refused.
            return None
        if on_disk and not behind:
            if cached is not None:
                self._do_again(cached, parts[-1], len(on_disk), context)
            return None
        return self._carry_out(on_disk, cached, parts, context)

    def _taking_part(self, parts: Sequence[Part], context: ApplyContext) -> tuple[list[DiskHost], CachedHost | None]:
        """Those who write at once, and the cached one.

        A node that does not run one of the machines cannot tell whether that refuses: it must not guess.
        """
        try:
            check_parts([part.machine for part in parts], self._machines)
        except ConfigError as error:
            raise StorageFailed(f"entry {context.index} holds a joint command that is none here: {error}") from error
        hosts = [self._hosts[part.machine] for part in parts]
        cached = hosts[-1] if isinstance(hosts[-1], CachedHost) else None
        return [host for host in hosts if isinstance(host, DiskHost) and host is not cached], cached

    def _do_again(self, cached: CachedHost, part: Part, number: int, context: ApplyContext) -> None:
        assert self._carried_out is not None
        ids_made = self._carried_out.ids_made(context)
        if ids_made is not None:
            _finish(cached, part, context.of_part(number, ids_made))

    def _carry_out(
        self, on_disk: Sequence[DiskHost], cached: CachedHost | None, parts: Sequence[Part], context: ApplyContext
    ) -> object:
        results: list[object] = []
        try:
            with self._all_or_nothing(on_disk):
                for number, host in enumerate(on_disk):
                    context = context.of_part(number, context.ids_made)
                    results.append(_result(host, parts[number].body, context))
                if cached is not None:
                    cached.check(parts[-1].body, context.of_part(len(on_disk), context.ids_made))
                    if on_disk:
                        self._leave_row(context)
        except CommandFailed as refusal:
            refusal.add_note(f"as part {len(results)} of a joint command, for {parts[len(results)].machine!r}")
            return refusal.with_traceback(None)  # that holds what holds it
        if cached is not None:
            results.append(_finish(cached, parts[-1], context.of_part(len(on_disk), context.ids_made)))
        return results

    @contextmanager
    def _all_or_nothing(self, hosts: Sequence[DiskHost]) -> Iterator[None]:
        """What these machines do inside is undone, in the file and in memory, if a refusal leaves the block."""
        if not hosts:
            yield
            return
        assert self._state is not None
        marks = [(host.machine, host.machine.mark()) for host in hosts]
        try:
            with self._state.savepoint():
                yield
        except CommandFailed:
            for machine, mark in reversed(marks):
                machine.undo(mark)
            raise

    def _leave_row(self, context: ApplyContext) -> None:
        assert self._carried_out is not None
        self._carried_out.forget(min(host.flushed for host in self._cached))
        self._carried_out.add(context)


def _result(host: DiskHost, body: bytes, context: ApplyContext) -> object:
    """Of one part in the file. Raises its refusal."""
    outcome = host.run(body, context)
    if isinstance(outcome, CommandFailed):
        raise outcome
    if type(outcome) is GeneratorType:
        outcome.close()
        raise CommandFailed("what takes several steps can be no part of a joint command")
    return outcome


def _finish(cached: CachedHost, part: Part, context: ApplyContext) -> object:
    """The last part's result. It was checked, here or before a restart: to refuse it now would leave half a command."""
    outcome = cached.run(part.body, context)
    if isinstance(outcome, CommandFailed) or type(outcome) is GeneratorType:
        raise StorageFailed(
            f"machine {cached.name!r} does not carry out its part of the joint command in entry {context.index}, which "
            f"it had found good: {outcome!r}"
        )
    return outcome
