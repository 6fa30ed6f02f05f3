"""Machines that join a log which others have been on for long, and commands that came before their machine.

A machine that is new beside others in the file begins where those stand, once the log's beginning is gone: a command is
proposed only when every member has said that it runs the machine, or when one was applied before
(:attr:`Latecomers.names`), so what is gone held none for it.

A program that is given a command for a machine it does not run passes over it, and records how far there was none: a
later program that does run the machine goes on from there, if the log still holds that. It must not start otherwise,
for it would differ from the others.

A machine that a program leaves out is a latecomer again, as long as nothing comes for it: so a program that was taken
back for a while can come again, however much of the log was cut meanwhile.
"""

from __future__ import annotations

from quorate.errors import ConfigError
from quorate.machine.sqlite import SqliteState

Standing = tuple[int, int]
"""(index, log time in µs) up to which a machine has applied the log."""


class Latecomers:
    """What the file says of its machines: where each begins, and which of them began late."""

    def __init__(self, state: SqliteState | None, run_here: set[str], floor: int) -> None:
        """``run_here`` are the machines that this program has in the file; the log holds what is behind ``floor``."""
        self._state = state
        self._recorded = state.applied() if state is not None else {}
        self.names = state.latecomers() if state is not None else set()
        """Those for which no command came behind where they stand."""
        if state is not None and not self._recorded.keys() & run_here:
            # At once, and all together: the first checkpoint of one may be long after the first flush of another.
            self._recorded |= self._write(dict.fromkeys(sorted(run_here), (0, 0)))
        self._others = max((at for name, at in self._recorded.items() if name in run_here), default=(0, 0))
        self._floor = floor
        for name in self._recorded.keys() - run_here - self.names:
            if self._recorded[name][0] >= self._others[0]:
                self._become_latecomer(name, self._recorded[name])

    def standing(self, machine: str) -> Standing:
        """Where ``machine`` begins; it is a latecomer if that is behind what others have applied.

        Raises :class:`ConfigError` if it cannot begin: it lacks what is no longer in the log, and others do not.
        """
        recorded = self._recorded.get(machine)
        if recorded is None:  # what is still in the log can tell better
            return self._become_latecomer(machine, self._others if self._floor else (0, 0))
        if recorded[0] < self._floor <= self._others[0]:
            if machine in self.names:
                return self._become_latecomer(machine, self._others)
            raise ConfigError(
                f"the machine {machine!r} has applied entry {recorded[0]}, but the log begins behind entry "
                f"{self._floor}: programs without it ran here meanwhile. Start this node with an empty data "
                f"directory, so that it is repaired from the others, or run a program without {machine!r}"
            )
        return recorded

    def _become_latecomer(self, machine: str, standing: Standing) -> Standing:
        self.names.add(machine)
        self._recorded |= self._write({machine: standing})
        return standing

    def _write(self, standings: dict[str, Standing]) -> dict[str, Standing]:
        assert self._state is not None
        self._state.begin()
        for machine, standing in standings.items():
            self._state.set_applied(machine, *standing)
            self._state.set_latecomer(machine, is_one=machine in self.names)
        self._state.commit()
        return standings

    def joins_others(self) -> None:
        """The cluster began without this node, or without its data: nobody knows yet which machines all members run.

        To be called only while nothing was applied.
        """
        beginning = {name: standing for name, standing in self._recorded.items() if standing == (0, 0)}
        self.names |= beginning.keys()
        if self._state is not None:
            self._write(beginning)

    def given_command(self, machine: str, index: int) -> None:
        """The entry ``index`` holds one: from now on it is a machine as the others are."""
        if machine in self.names and index > self._recorded[machine][0]:
            assert self._state is not None
            self.names.discard(machine)
            self._state.set_latecomer(machine, is_one=False)

    def passed_over(self, machine: str, index: int, time_us: int) -> None:
        """The entry ``index`` holds a command for a machine that is not run here; the log's time before it."""
        if self._state is not None and machine not in self._recorded:
            self._recorded[machine] = (index - 1, time_us)
            self._state.set_applied(machine, index - 1, time_us)
