"""The node's view of the replicated log: what is in it, and how far it is durable, committed and applied.

Entries near the end are kept in memory; older ones are read back through the :class:`LogReader`. Terms are kept
for the whole log as runs (a term's entries are contiguous), so the consistency check never needs to read. What is
at or below the ``floor`` is in a snapshot only; of the log, the term at the floor itself is still known.

Invariant: floor ≤ applied ≤ committed ≤ last, handed out ≤ durable ≤ last; except that a snapshot being installed
raises the floor before it is durable and applied.
"""

from __future__ import annotations

from collections.abc import Sequence

from quorate.errors import ProtocolViolation
from quorate.raft.configurations import Configurations
from quorate.raft.entry import Entry
from quorate.raft.membership import Configuration
from quorate.raft.output import Floor, LogReader, Recovered
from quorate.raft.terms import TermRuns

_ENTRY_OVERHEAD_BYTES = 200  # what an entry takes in memory besides its payload, roughly
_CACHE_OVERFLOW = 4


class RaftLog:
    """The log. Only :meth:`append` changes its contents, and it never removes a committed entry."""

    def __init__(
        self,
        recovered: Recovered,
        reader: LogReader,
        *,
        cache_bytes_max: int,
        initial: Configuration,
    ) -> None:
        """``initial`` is the configuration that the cluster began with."""
        self._reader = reader
        self.floor = recovered.floor
        self.configurations = Configurations(initial, recovered.floor)
        for entry in recovered.configurations:
            self.configurations.appended(entry)
        self._terms = _terms_from(recovered.floor)
        for index, term in recovered.term_starts:
            self._terms.extend(index, term)
        self._cache: list[Entry] = []
        self._cache_first = recovered.last_index + 1
        self._cache_bytes = 0
        self._cache_bytes_max = cache_bytes_max
        self.last_index = recovered.last_index
        self.written = recovered.last_index
        """Up to here entries were handed to storage."""
        self.durable = recovered.last_index
        """Up to here storage has confirmed."""
        self.committed = recovered.floor.index
        self.handed_out = recovered.floor.index
        """Up to here entries were given to the driver for applying."""
        self.applied = recovered.floor.index

    @property
    def last_term(self) -> int:
        """The last entry's term; 0 when the log is empty."""
        return self._terms.last

    def term(self, index: int) -> int:
        """The term of the entry at ``index`` (0 for index 0). Raises ``IndexError`` for one that is not here."""
        if index == self.floor.index:
            return self.floor.term
        if not self.floor.index < index <= self.last_index:
            raise IndexError(f"no entry {index}: the log has those from {self.floor.index + 1} to {self.last_index}")
        return self._terms.at(index)

    def matches(self, index: int, term: int) -> bool:
        """Whether the log holds an entry ``index`` of ``term`` (and so everything before it: Log Matching, §5.3)."""
        return self.floor.index <= index <= self.last_index and self.term(index) == term

    def is_up_to_date(self, last_index: int, last_term: int) -> bool:
        """Whether a log ending in (``last_index``, ``last_term``) is at least as up to date as this one (§5.4.1)."""
        return (last_term, last_index) >= (self.last_term, self.last_index)

    def last_index_within_term(self, index: int, term: int) -> tuple[int, int]:
        """The last position at or below ``index`` whose term is at most ``term``, with its term.

        Both sides use it to skip whole terms when they look for the point where two logs agree.
        """
        return self._terms.last_within(min(index, self.last_index), term)

    def append(self, entries: Sequence[Entry]) -> None:
        """Put ``entries`` at their places; whatever was there and behind gives way (§5.3)."""
        first = entries[0].index
        if first <= self.committed:
            raise ProtocolViolation(f"entry {first} is committed here and would be overwritten")
        if first > self.last_index + 1:
            raise ProtocolViolation(f"entry {first} would leave a gap behind {self.last_index}")
        if first <= self.last_index:
            self._truncate(first)
        for entry in entries:
            self._terms.extend(entry.index, entry.term)
            self.configurations.appended(entry)
            self._cache_bytes += len(entry.payload) + _ENTRY_OVERHEAD_BYTES
        self._cache.extend(entries)
        self.last_index = entries[-1].index
        if self._cache_bytes > _CACHE_OVERFLOW * self._cache_bytes_max:
            self._evict()

    def _truncate(self, first: int) -> None:
        keep = max(0, first - self._cache_first)
        for entry in self._cache[keep:]:
            self._cache_bytes -= len(entry.payload) + _ENTRY_OVERHEAD_BYTES
        del self._cache[keep:]
        self._cache_first = min(self._cache_first, first)
        self._terms.cut(first)
        self.configurations.cut(first)
        self.last_index = first - 1
        self.written = min(self.written, self.last_index)
        self.durable = min(self.durable, self.last_index)

    def compact(self, index: int) -> Floor | None:
        """Raise the floor to ``index``, as far as everything below is applied and durable; the new floor, if it rose.

        The driver must not remove anything from the log before it has this floor's leave.
        """
        index = min(index, self.applied, self.durable)
        if index <= self.floor.index:
            return None
        floor = self.floor_at(index)
        self.configurations.compacted(index)
        self._terms.cut_before(index)
        self._drop_cached(index + 1 - self._cache_first)
        self.floor = floor
        return floor

    def floor_at(self, index: int) -> Floor:
        """The floor of a log that begins behind ``index``, which is at this one's floor or an entry of it."""
        configuration_index, configuration = self.configurations.at(index)
        encoded = configuration.encode() if configuration_index else b""
        return Floor(index, self.term(index), configuration_index, encoded)

    def reset(self, floor: Floor) -> None:
        """A snapshot takes the place of everything. Nothing is handed out until the driver reports it as applied."""
        self._drop_cached(len(self._cache))
        self._cache_first = floor.index + 1
        self._terms = _terms_from(floor)
        self.configurations.begin_at(floor)
        self.floor = floor
        self.last_index = self.written = self.committed = self.handed_out = floor.index
        self.durable = 0

    def entries(self, low: int, high: int, max_bytes: int, max_entries: int | None = None) -> Sequence[Entry]:
        """Entries ``low`` … ``high`` - 1, as far as they fit; at least one if there is one."""
        if max_entries is not None:
            high = min(high, low + max_entries)
        if low >= high:
            return ()
        if low < self._cache_first:
            return self._reader.read(low, min(high, self._cache_first), max_bytes)
        start = low - self._cache_first
        found = self._cache[start : high - self._cache_first]
        total = 0
        for count, entry in enumerate(found):
            total += len(entry.payload)
            if total > max_bytes:
                return found[: max(1, count)]
        return found

    def unwritten(self) -> Sequence[Entry]:
        """Entries that storage has not been given yet."""
        return self._cache[self.written + 1 - self._cache_first :] if self.written < self.last_index else ()

    def commit_to(self, index: int) -> None:
        """Raise the commit index; it never goes back. Raises :class:`ProtocolViolation` beyond the end of the log."""
        if index <= self.committed:
            return
        if index > self.last_index:
            raise ProtocolViolation(
                f"told that entry {index} is committed, but this log ends at {self.last_index}: "
                "it lost entries that it had acknowledged"
            )
        self.committed = index

    def take_committed(self, max_bytes: int) -> Sequence[Entry]:
        """The next entries to apply: committed, and durable here too, so no state can run ahead of its own log."""
        ready = min(self.committed, self.durable)
        if self.handed_out >= ready or self.handed_out > self.applied:
            return ()
        entries = self.entries(self.handed_out + 1, ready + 1, max_bytes)
        self.handed_out += len(entries)
        return entries

    def applied_to(self, index: int) -> None:
        """The driver has applied everything up to ``index``."""
        if not self.applied <= index <= self.handed_out:
            raise ProtocolViolation(f"applied {index}, outside of {self.applied} … {self.handed_out}")
        self.applied = index
        self._evict()

    def _evict(self) -> None:
        """Drop old entries from memory once they are durable and applied, and more than the bound is kept.

        Some more than necessary are dropped, so that the rest is seldom moved. Far beyond the bound (the state
        machines do not keep up) what is not applied yet is dropped too, and read back when its time has come.
        """
        if self._cache_bytes <= self._cache_bytes_max:
            return
        overflows = self._cache_bytes > _CACHE_OVERFLOW * self._cache_bytes_max
        droppable = (self.durable if overflows else min(self.applied, self.durable)) + 1 - self._cache_first
        excess = self._cache_bytes - self._cache_bytes_max * 7 // 8
        count = 0
        while count < droppable and excess > 0:
            excess -= len(self._cache[count].payload) + _ENTRY_OVERHEAD_BYTES
            count += 1
        self._drop_cached(count)

    def _drop_cached(self, count: int) -> None:
        """Forget the oldest ``count`` entries in memory."""
        if count <= 0:
            return
        for entry in self._cache[:count]:
            self._cache_bytes -= len(entry.payload) + _ENTRY_OVERHEAD_BYTES
        del self._cache[:count]
        self._cache_first += count


def _terms_from(floor: Floor) -> TermRuns:
    return TermRuns([(floor.index, floor.term)] if floor.index else ())
