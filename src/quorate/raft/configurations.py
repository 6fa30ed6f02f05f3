"""The configurations in a log: the latest one is in force, committed or not (§6)."""

from __future__ import annotations

from quorate.raft.entry import Entry, EntryKind
from quorate.raft.membership import Configuration
from quorate.raft.output import Floor


class Configurations:
    """Every configuration that may still come into force: that of the log's floor, and those behind it.

    A configuration is in force as soon as it is in the log, and no longer when it is cut off again.
    """

    def __init__(self, initial: Configuration, floor: Floor) -> None:
        """``initial`` is in force until the log holds one."""
        self._initial = initial
        self._history: list[tuple[int, Configuration]] = []
        self.begin_at(floor)

    def begin_at(self, floor: Floor) -> None:
        """Forget everything but what was in force at ``floor``."""
        configuration = Configuration.decode(floor.configuration) if floor.configuration else self._initial
        self._history = [(floor.configuration_index, configuration)]

    @property
    def index(self) -> int:
        """The entry that holds the configuration in force; 0 while that is the one the cluster began with."""
        return self._history[-1][0]

    @property
    def latest(self) -> Configuration:
        """The configuration in force."""
        return self._history[-1][1]

    def at(self, index: int) -> tuple[int, Configuration]:
        """(its entry's index, the configuration) that a log ending at ``index`` has in force.

        Before the floor's own that is no longer known: the empty one, in which nobody decides anything.
        """
        for found in reversed(self._history):
            if found[0] <= index:
                return found
        return 0, Configuration()

    def appended(self, entry: Entry) -> None:
        """An entry was added to the log. Raises :class:`ProtocolViolation` if it cannot be understood."""
        if entry.kind is EntryKind.MEMBERSHIP:
            self._history.append((entry.index, Configuration.decode(entry.payload)))

    def cut(self, index: int) -> None:
        """The entries from ``index`` on were cut off."""
        while len(self._history) > 1 and self._history[-1][0] >= index:
            self._history.pop()

    def compacted(self, index: int) -> None:
        """The log now begins behind ``index``."""
        while len(self._history) > 1 and self._history[1][0] <= index:
            self._history.pop(0)
