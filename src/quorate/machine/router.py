"""Puts several state machines on one log: decodes entries, gives each machine its commands, keeps applied indexes."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import ExitStack, closing
from hashlib import blake2b
from pathlib import Path
from types import GeneratorType
from typing import NoReturn

from quorate.errors import CommandFailed, ConfigError, CorruptLog, ProtocolViolation, StorageError, StorageFailed
from quorate.machine.cached import CachedHost, CachedSessions
from quorate.machine.capture import Capture, SavedMachine, SavedMachines, check_applied, decode_machines
from quorate.machine.commands import JOINT, Command, decode_batch
from quorate.machine.contract import (
    ApplyContext,
    CachedStateMachine,
    DiskStateMachine,
    StateMachine,
    Steps,
    all_at_once,
)
from quorate.machine.flushing import DurableLog, Flushing
from quorate.machine.host import NOT_REFUSALS, DiskHost, MemoryHost
from quorate.machine.joint import Joints, decode_parts
from quorate.machine.latecomers import Latecomers, Standing
from quorate.machine.sessions import MemorySessions, SqliteSessions
from quorate.machine.sqlite import SqliteState, Synced
from quorate.raft.entry import Entry, EntryKind

CLOSE_SECONDS = 5.0
"""For so long :meth:`Router.close` goes on with checkpoints: what is not done by then will be applied again."""
CLOSE_SLICE_SECONDS = 0.1
COMMANDS_PER_STEP = 500
"""A step of a command that takes long counts as so many commands where a flush waits for some: it writes as much."""

EntrySteps = Generator[None, None, list[object]]


class Router:
    """All machines of one group. Used from the event loop's thread, but for :meth:`sync` and :meth:`check_copy`."""

    def __init__(
        self,
        machines: Mapping[str, StateMachine | DiskStateMachine],
        *,
        open_state: Callable[[Path], SqliteState] = SqliteState,
        witness: bool = False,
    ) -> None:
        """``open_state`` opens the group's SQLite file. A ``witness`` opens nothing and gives its machines nothing."""
        self.machines = dict(machines)
        self._open_state = open_state
        self._witness = witness
        self._state_path = Path()
        self._hosts: dict[str, MemoryHost | DiskHost] = {}
        self._joints = Joints(self._hosts, None)
        self._latecomers = Latecomers(None, set(), 0)
        self._opened: list[DiskStateMachine] = []
        self._state: SqliteState | None = None
        self.log: DurableLog | None = None
        """What :class:`Flushing` makes durable first; to be set before :meth:`open`."""
        self._flushing: Flushing | None = None
        """There is one while machines have a file open."""
        self._last_time_us = 0
        self._last_index = 0
        self._saved_index = 0
        self._broken = False
        self.unflushed = 0
        """Commands applied since the last :meth:`flush`."""
        self.begins_checkpoints = True
        """Whether a :meth:`flush` begins a checkpoint of its own accord where one is due."""

    # -- opening and closing -----------------------------------------------------------------------------

    def open(self, state_path: Path | str, machines: bytes = b"", *, floor: int = 0) -> None:
        """Open every machine. The SQLite file is made only if a machine keeps its state in it.

        With ``machines`` (see :attr:`Capture.machines`) those in memory continue where that was captured, instead of
        at 0. The log holds the entries behind ``floor``: see :mod:`quorate.machine.latecomers`. Ends with a
        :meth:`sync`, so what the file holds counts as durable from the start: that blocks for an fsync, and longer
        after a crash. Whatever this raises, :meth:`close` cleans up.

        Raises :class:`ConfigError` for machines that are no machines or not those in ``machines``,
        :class:`StorageError` for what cannot be read.
        """
        self._state_path = Path(state_path)
        if not self._witness:
            self._open_machines(decode_machines(machines), floor)

    def _open_machines(self, saved: SavedMachines, floor: int) -> None:
        if saved.machines:
            saved.check_names(self._names(StateMachine))
        states = {machine.name: machine for machine in saved.machines}
        last_times: dict[int, int] = {}
        self._hosts = {}
        if JOINT in self.machines:
            raise ConfigError(f"no machine can be named {JOINT!r}")
        on_disk = self._names(DiskStateMachine)
        if on_disk:
            self._state = self._open_state(self._state_path)
        self._latecomers = Latecomers(self._state, on_disk, floor)
        for name, machine in self.machines.items():
            if isinstance(machine, StateMachine):
                self._hosts[name] = _host_in_memory(name, machine, states.get(name), saved.index)
                last_times[saved.index] = saved.time_us
            elif isinstance(machine, DiskStateMachine):
                assert self._state is not None
                applied, time_us = self._open_on_disk(name, machine, self._state)
                last_times[applied] = time_us
            else:
                raise ConfigError(f"machine {name!r} is neither a StateMachine nor a DiskStateMachine")
        if self._state is not None:
            self._flushing = Flushing(self._state, self._on_disk, self.log)
        self._joints = Joints(self._hosts, self._state)
        self._last_index = self.applied if last_times else 0
        self._last_time_us = last_times.get(self._last_index, 0)
        self._saved_index = saved.index
        self.unflushed = 0
        self.sync()

    def _open_on_disk(self, name: str, machine: DiskStateMachine, state: SqliteState) -> Standing:
        applied, time_us = self._latecomers.standing(name)
        if isinstance(machine, CachedStateMachine):
            self._hosts[name] = CachedHost(name, machine, CachedSessions(state, name), applied)
        else:
            self._hosts[name] = DiskHost(name, machine, SqliteSessions(state, name), applied)
        self._opened.append(machine)
        machine.open(state)
        return applied, time_us

    def _names(self, kind: type) -> set[str]:
        return {name for name, machine in self.machines.items() if isinstance(machine, kind)}

    def close(self, *, flush: bool = True) -> None:
        """Flush, unless told not to, and close. Everything is closed whatever fails, and then that is raised.

        Flushing includes a checkpoint, as far as that can be done in ``CLOSE_SECONDS``.
        """
        with ExitStack() as stack:
            if self._state is not None:
                stack.callback(self._state.close)
            for machine in self._opened:
                stack.callback(machine.close)
            try:
                if flush and not self._broken:
                    self.flush()
                    self._finish_checkpoints()
            finally:
                self._opened, self._state, self._flushing = [], None, None

    def _finish_checkpoints(self) -> None:
        ends = time.monotonic() + CLOSE_SECONDS
        while (self.is_checkpointing or self.begin_checkpoint()) and time.monotonic() < ends:
            self.flush(CLOSE_SLICE_SECONDS)

    # -- how far it got ----------------------------------------------------------------------------------

    @property
    def _in_memory(self) -> list[MemoryHost]:
        return [host for host in self._hosts.values() if isinstance(host, MemoryHost)]

    @property
    def _on_disk(self) -> list[DiskHost]:
        return [host for host in self._hosts.values() if isinstance(host, DiskHost)]

    @property
    def applied(self) -> int:
        """Up to here every machine has applied the log: replay continues behind it.

        For a witness, and for a router without machines, up to here entries were handed in.
        """
        if self._witness:
            return self._last_index
        return min((host.applied for host in self._hosts.values()), default=self._last_index)

    @property
    def applied_by_any(self) -> int:
        """Up to here some machine has applied the log, which proves that it is committed."""
        if self._witness:
            return self._last_index
        return max((host.applied for host in self._hosts.values()), default=self._last_index)

    @property
    def durable_index(self) -> int:
        """Up to here every machine's state is durable without any log: in the file, or in what was saved of it.

        On disk that is what had been flushed when the last complete :meth:`sync` began; in memory what was reported
        to :meth:`machines_saved`; with both, the lower. A witness has no state to lose: all that it was given.
        """
        if self._witness or not self._hosts:
            return self._last_index
        synced_index = self._flushing.synced_index if self._flushing is not None else 0
        return min(self._saved_index if isinstance(host, MemoryHost) else synced_index for host in self._hosts.values())

    def machines_saved(self, index: int) -> None:
        """A capture's ``machines``, of this ``index``, are durable: a restart will hand them to :meth:`open`."""
        self._saved_index = max(self._saved_index, index)

    # -- applying ----------------------------------------------------------------------------------------

    def apply(self, entry: Entry) -> list[object]:
        """Apply one committed entry, in log order; returns one outcome per command in it, a witness none.

        Raises :class:`StorageFailed` when a machine's state can no longer be trusted, and
        :class:`ProtocolViolation` for what a witness alone may be given: the node must stop. Then, as after any
        other exception, an entry may be half applied, and nothing is committed any more.
        """
        outcomes = self.begin(entry)
        return outcomes if isinstance(outcomes, list) else all_at_once(outcomes)

    def begin(self, entry: Entry) -> list[object] | EntrySteps:
        """As :meth:`apply`, but of an entry that takes long the steps to what that returns.

        They may raise what that does. Before the last, the entry is not applied: whatever else is right between two
        entries is so between two steps. Close them to leave it at that, until the state is opened anew.
        """
        self._check_working()
        try:
            if self._flushing is not None and self._flushing.has_leftovers:
                return self._behind_leftovers(entry)
            outcomes = self._apply(entry)
        except BaseException as error:
            self._give_up(entry, error)
        if isinstance(outcomes, list):
            self._applied(entry)
        return outcomes

    def _behind_leftovers(self, entry: Entry) -> EntrySteps:
        """Leftovers may refer to what is in the state: no command must meet them, or nodes would differ."""
        yield from self._continued(entry, self._removal())
        outcomes = self.begin(entry)
        return outcomes if isinstance(outcomes, list) else (yield from outcomes)

    def _removal(self) -> Generator[None, None, None]:
        while self._flushing is not None and self._flushing.has_leftovers:
            self._flushing.begin()
            self._flushing.remove_leftovers()
            yield

    def _give_up(self, entry: Entry, error: BaseException) -> NoReturn:
        self._broken = True
        if isinstance(error, NOT_REFUSALS):
            raise StorageFailed(f"cannot apply entry {entry.index}: {error}") from error
        raise error

    def _applied(self, entry: Entry) -> None:
        self._last_index = entry.index
        if not self._witness:  # the machines of a witness stay where they were
            for host in self._hosts.values():
                if host.applied < entry.index:
                    host.applied = entry.index

    def _check_working(self) -> None:
        if self._broken:
            raise StorageFailed("the state machines failed before")

    def _apply(self, entry: Entry) -> list[object] | EntrySteps:
        if self._witness:
            return []
        match entry.kind:
            case EntryKind.COMMANDS:
                return self._apply_batch(entry)
            case EntryKind.WITNESSED:
                raise ProtocolViolation(f"entry {entry.index} came without its commands, which only a witness may miss")
            case EntryKind.NOOP | EntryKind.MEMBERSHIP:
                return []

    def _apply_batch(self, entry: Entry) -> list[object] | EntrySteps:
        batch = decode_batch(entry.payload)
        time_us = max(batch.time_us, self._last_time_us + 1)
        if self._flushing is not None:
            self._flushing.begin()
        outcomes: list[object] = []
        for position, command in enumerate(batch.commands):
            context = ApplyContext(entry.index, entry.term, time_us, batch.seed, position, command.origin)
            outcome = self._apply_command(command, context)
            if type(outcome) is GeneratorType:
                if len(batch.commands) == 1:
                    return self._in_steps(entry, outcome, time_us)
                outcome = all_at_once(outcome)  # half of an entry must not be flushed
                all_at_once(self._removal())
            outcomes.append(outcome)
        self._last_time_us = time_us
        self.unflushed += len(batch.commands)
        return outcomes

    def _in_steps(self, entry: Entry, steps: Steps, time_us: int) -> EntrySteps:
        """The log's time does not go on before the last step: a flush would write it."""
        outcome = yield from self._continued(entry, steps)
        self._last_time_us = time_us
        self.unflushed += 1
        self._applied(entry)
        return [outcome]

    def _continued(self, entry: Entry, steps: Steps) -> Steps:
        """The same steps, each in a transaction; what goes wrong stops the node."""
        with closing(steps):
            while True:
                if self._flushing is not None:
                    self._flushing.begin()
                try:
                    next(steps)
                except StopIteration as end:
                    return end.value
                except BaseException as error:
                    self._give_up(entry, error)
                self.unflushed += COMMANDS_PER_STEP
                yield
                self._check_working()
                if self._witness:
                    return None

    def _apply_command(self, command: Command, context: ApplyContext) -> object:
        if self._latecomers.names:
            self._given_command(command, context.index)
        if command.machine == JOINT:
            return self._joints.apply(command, context)
        host = self._hosts.get(command.machine)
        if host is None:
            self._latecomers.passed_over(command.machine, context.index, self._last_time_us)
            return CommandFailed(f"this cluster runs no machine named {command.machine!r}")
        if context.index <= host.applied:
            return None  # a replay for another machine's sake; nobody waits for this answer
        return host.apply(command, context)

    def _given_command(self, command: Command, index: int) -> None:
        names = [part.machine for part in decode_parts(command.body)] if command.machine == JOINT else [command.machine]
        for name in names:
            self._latecomers.given_command(name, index)

    @property
    def unordered(self) -> frozenset[str]:
        """The names of commands among which small ones may pass large ones; joint commands are waited for, too."""
        return frozenset({JOINT, *(name for name, machine in self.machines.items() if machine.unordered)})

    @property
    def latecomers(self) -> Collection[str]:
        """The machines for which no command came since they began, or were left out: not all nodes need run them."""
        return self._latecomers.names

    def joins_others(self) -> None:
        """This node comes to a cluster that has gone on without it, or without its data."""
        if not self._witness and not self.applied_by_any:
            self._latecomers.joins_others()

    @property
    def is_witness(self) -> bool:
        """Whether this node is given the places of the commands only, and its machines nothing."""
        return self._witness

    def become_witness(self) -> None:
        """From now on apply nothing. What was applied is flushed; reads of the machines find what was there then."""
        self.flush()
        self._witness = True

    # -- durability --------------------------------------------------------------------------------------

    def flush(self, seconds: float | None = None) -> None:
        """Commit what was applied, with the applied index, to the SQLite file: it survives this process.

        Of a machine that has its state in memory, that is a bit of its checkpoint: see :attr:`is_checkpointing`; what
        takes ``seconds``, if they are given. After a failure, :class:`StorageFailed` included that this raises, the
        file stays as it was committed last.
        """
        self._check_working()
        flushing = self._flushing
        if flushing is not None:
            if self.begins_checkpoints and flushing.is_checkpoint_due:
                flushing.begin_checkpoint(self._last_time_us)
            self._broken = True  # unless all of this succeeds
            flushing.flush(self._last_time_us, seconds, applied_some=self.unflushed > 0)
            self._broken = False
        self.unflushed = 0

    @property
    def awaits_log(self) -> bool:
        """Whether a :meth:`flush` would have to make the log durable first: better later, if that can wait."""
        return self._flushing is not None and self._flushing.awaits_log

    def sync(self) -> Synced:
        """Make what was flushed durable; see :meth:`SqliteState.sync`. Blocks for an fsync; may run in a thread."""
        flushing = self._flushing
        if flushing is None:
            return Synced(0, self._witness or not self._names(DiskStateMachine))
        return flushing.sync()

    # -- checkpoints -------------------------------------------------------------------------------------

    @property
    def is_checkpointing(self) -> bool:
        """Whether a checkpoint is under way: each :meth:`flush` writes a bit of it."""
        return self._flushing is not None and self._flushing.is_checkpointing

    @property
    def is_behind(self) -> bool:
        """Whether the next checkpoint is due before the one under way is written."""
        return self._flushing is not None and self._flushing.is_behind

    def begin_checkpoint(self) -> bool:
        """Begin a checkpoint, unless one is under way or nothing was applied since; returns whether it did."""
        self._check_working()
        return self._flushing is not None and self._flushing.begin_checkpoint(self._last_time_us)

    # -- snapshots ---------------------------------------------------------------------------------------

    @property
    def is_level(self) -> bool:
        """Whether all machines have applied the same entries: not while some of them replay what others have."""
        return self.applied == self.applied_by_any

    def capture(self) -> Capture:
        """Flush, and keep this moment of all machines for a snapshot. On the event loop, between two entries.

        Takes the machines' own ``snapshot()`` and some microseconds. Where machines write checkpoints, one begins, and
        the capture is :attr:`~Capture.complete` with it, by some :meth:`flush` to come. Raises :class:`StorageFailed`
        when the node must stop, and :class:`StorageError` when there is just nothing to capture: of a witness, before
        the first entry, while the machines are not :attr:`level <is_level>` or a checkpoint is under way, or where a
        machine cannot make its snapshot.
        """
        if self.is_checkpointing:
            raise StorageError("a checkpoint is under way")
        saved = self._saved_machines()
        return Capture(saved, None) if self._flushing is None else self._flushing.capture(saved)

    def capture_memory(self) -> Capture:
        """The same without what is in the file: the machines that live in memory alone."""
        return Capture(self._saved_machines(), None)

    def _saved_machines(self) -> SavedMachines:
        self._check_working()
        if self._witness or not self._last_index or not self.is_level:
            raise StorageError("there is no state to capture now")
        self.flush()
        saved = [_saved(host) for host in self._in_memory]
        return SavedMachines(self._last_index, self._last_time_us, saved)

    def check_copy(self, path: Path | None, machines: bytes, index: int) -> None:
        """Whether a snapshot is fit for :meth:`replace_state`. ``path``: where its copy of the file is, if it has one.

        Blocking, for a thread, and without effect. Raises :class:`CorruptLog` for what is no snapshot of this
        ``index`` or is damaged, :class:`ConfigError` when it is one of other machines than these.
        """
        saved = decode_machines(machines)
        saved.check_names(self._names(StateMachine))
        if saved.machines and saved.index != index:
            raise CorruptLog(f"the snapshot's state machines stand at entry {saved.index} instead of {index}")
        on_disk = self._names(DiskStateMachine)
        if (path is None) is bool(on_disk):
            which = "none here does" if path is not None else "some here do"
            held = "has" if path is not None else "has no"
            raise ConfigError(f"the snapshot {held} state machines that keep their state in a file, but {which}")
        if path is not None:
            state = self._state
            if state is None:
                raise StorageFailed("the state is not open")
            check_applied({name: at for name, (at, _) in state.examine(path).items()}, on_disk, index)

    def replace_state(self, switch: Callable[[], None], machines: bytes, index: int) -> None:
        """Continue with another node's snapshot of ``index``, which :meth:`check_copy` has found fit.

        Closes every machine and the file, calls ``switch``, which puts the snapshot's file into its place, and opens
        everything again. Blocking; a :meth:`sync` in a thread before it spares it the work of one. Captures are
        closed with the file.

        Raises :class:`ConfigError` for other machines than these, before anything was done. Whatever fails
        otherwise raises :class:`StorageError` and leaves the router broken: the node must stop.
        """
        self._check_working()
        if self._witness:
            raise StorageError("a witness has no state to replace")
        saved = decode_machines(machines)
        saved.check_names(self._names(StateMachine))
        self._broken = True
        try:
            state = self._state
            self.close(flush=False)
            if state is not None:
                state.check_released()
            switch()
            self._open_machines(saved, index)
            if not self.is_level:
                raise CorruptLog("the snapshot's state machines stand at different entries")
            self.begin_sqlites_log()
        except StorageError:
            raise
        except Exception as error:
            raise StorageFailed(f"the state cannot be replaced by a snapshot's: {error}") from error
        self._broken = False

    def begin_sqlites_log(self) -> None:
        """See :meth:`SqliteState.begin_log`; only while nothing is applied."""
        state = self._state
        if state is not None:
            state.begin_log()

    def digest(self) -> str:
        """Equal on all nodes that have applied the same entries, all machines included; empty for a witness.

        Reads the whole state, on the event loop, which takes seconds for a million rows: for tests and simulations.
        Raises :class:`StorageError` while the machines are not :attr:`level <is_level>`.
        """
        self._check_working()
        if self._witness:
            return ""
        if not self.is_level:
            raise StorageError("the state machines have not applied the same entries yet")
        machines = sorted((_saved(host) for host in self._in_memory), key=lambda saved: saved.name)
        digest = blake2b(SavedMachines(0, self._last_time_us, machines).encode(), digest_size=16)
        if self._state is not None:
            cached = [host for host in self._on_disk if isinstance(host, CachedHost)]
            for host in sorted(cached, key=lambda host: host.name):
                digest.update(SavedMachine(host.name, b"", host.sessions.requests()).encode())
                host.machine.digest_into(digest)
            local = frozenset[str]().union(*(host.machine.local_tables for host in self._on_disk))
            self._state.digest_into(digest, local)
        return digest.hexdigest()


def _host_in_memory(name: str, machine: StateMachine, saved: SavedMachine | None, index: int) -> MemoryHost:
    if saved is None:
        return MemoryHost(name, machine, MemorySessions(), 0)
    try:
        machine.restore(saved.state)
    except Exception as error:
        raise CorruptLog(f"machine {name!r} cannot be restored from its snapshot: {error!r}") from error
    return MemoryHost(name, machine, MemorySessions(saved.requests), index)


def _saved(host: MemoryHost) -> SavedMachine:
    try:
        return SavedMachine(host.name, host.machine.snapshot(), host.sessions.requests())
    except Exception as error:
        raise StorageError(f"machine {host.name!r} cannot make its snapshot: {error!r}") from error
