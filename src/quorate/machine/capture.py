"""One moment of all machines: what a snapshot is made of, and how the part in memory is encoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property
from pathlib import Path

import apsw
import msgspec

from quorate.errors import ConfigError, CorruptLog, StorageError
from quorate.machine.contract import Rows
from quorate.machine.copies import Pinned
from quorate.machine.sessions import Request


class SavedMachine(msgspec.Struct, array_like=True, frozen=True):
    """A machine in memory: its own snapshot and the requests that it remembers, oldest first."""

    name: str
    state: bytes
    requests: list[Request]

    def encode(self) -> bytes:
        """As part of a digest."""
        return _encoder.encode(self)


class SavedMachines(msgspec.Struct, array_like=True, frozen=True, tag="quorate machines 1"):
    """All machines in memory as they were behind the entry ``index``, at the log's time ``time_us``."""

    index: int
    time_us: int
    machines: list[SavedMachine]

    def check_names(self, run_here: AbstractSet[str]) -> None:
        """Raises :class:`ConfigError` unless these are the machines of the snapshot."""
        check_names({machine.name for machine in self.machines}, run_here)

    def encode(self) -> bytes:
        """For :func:`decode_machines`."""
        return _encoder.encode(self)


NOTHING_SAVED = SavedMachines(0, 0, [])

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(SavedMachines)


def decode_machines(data: bytes) -> SavedMachines:
    """What :attr:`Capture.machines` holds. Raises :class:`CorruptLog` for anything else."""
    if not data:
        return NOTHING_SAVED
    try:
        return _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise CorruptLog(f"the snapshot's state machines cannot be read: {error}") from error


def check_names(saved: AbstractSet[str], run_here: AbstractSet[str]) -> None:
    """Raises :class:`ConfigError` unless a snapshot holds just the machines that this program runs."""
    if saved - run_here:
        raise ConfigError(f"the snapshot holds the state machine {min(saved - run_here)!r}, which is not run here")
    if run_here - saved:
        raise ConfigError(
            f"the state machine {min(run_here - saved)!r} is run here, but the snapshot does not hold it: "
            "it cannot be added to a cluster whose log was cut"
        )


def check_applied(applied: Mapping[str, int], run_here: AbstractSet[str], index: int) -> None:
    """What a copy of the file says of its machines must fit the snapshot's ``index`` and this program.

    Of a machine that it does not mention, there was no command: see :mod:`quorate.machine.latecomers`.
    Raises :class:`ConfigError` for other machines, :class:`CorruptLog` for other indexes.
    """
    if not applied:
        raise CorruptLog("the snapshot's state does not say which entries were applied to it")
    # A machine that was given up long ago leaves its mark in the file: it stands where it was then.
    saved = {name for name, at in applied.items() if at >= index or name in run_here}
    check_names(saved | run_here if saved & run_here else saved, run_here)
    for name, at in applied.items():
        if at > index or (at < index and name in run_here):
            raise CorruptLog(f"the snapshot's state of {name!r} is that of entry {at} instead of {index}")


class Capture:
    """All machines as they were behind the entry ``index``, at the log's time ``time_us``.

    Where machines write their state bit by bit it is not :attr:`complete` until they have written that of the moment.
    :meth:`close` it: while the file is pinned, no :meth:`Router.sync` behind the moment is complete, and SQLite's own
    log grows.
    """

    def __init__(self, saved: SavedMachines, pinned: Pinned | None, *, complete: bool = True) -> None:
        self.index = saved.index
        self.time_us = saved.time_us
        self.complete = complete
        """Whether there is everything that :meth:`copy_state` needs."""
        self.closed = False
        self._saved = saved
        self._pinned = pinned
        self._later: Pinned | None = None
        self._rows: Sequence[Rows] = ()

    def complete_with(self, pinned: Pinned, rows: Sequence[Rows]) -> None:
        """What was missing in the file at the moment are these rows, which it has now."""
        if self._pinned is None:
            self._pinned = pinned  # nothing in the file is of a later moment
        else:
            self._later, self._rows = pinned, rows
        self.complete = True

    @property
    def has_state(self) -> bool:
        """Whether there is a SQLite file, and with it something for :meth:`copy_state` to copy."""
        return self._pinned is not None or not self.complete

    @cached_property
    def machines(self) -> bytes:
        """The machines in memory with the requests they remember, for :meth:`Router.open`; empty if there are none.

        Encoded when it is first asked for, which takes some milliseconds where many requests are remembered: ask in
        the thread that writes it.
        """
        return self._saved.encode() if self._saved.machines else b""

    def copy_state(self, path: Path) -> None:
        """Write the file as it was at that moment to ``path`` and make it durable there; not its directory entry.

        Blocks for as long as that takes: call it from a thread. Writers go on meanwhile. Raises
        :class:`StorageError`, also when :meth:`close` is called meanwhile; what is at ``path`` is worthless then.
        """
        if self._pinned is None or not self.complete:
            raise StorageError("no state machine keeps its state in a file, or not all of it is there yet")
        self._pinned.copy_to(path, None if self._later is None else self._amend)

    def _amend(self, copy: apsw.Connection) -> None:
        assert self._later is not None
        for rows in self._rows:
            self._later.carry_rows(rows, copy)

    def close(self) -> None:
        """Let go of the file. Idempotent, for any thread; ends a :meth:`copy_state` under way."""
        self.closed = True
        for pinned in (self._pinned, self._later):
            if pinned is not None:
                pinned.close()
