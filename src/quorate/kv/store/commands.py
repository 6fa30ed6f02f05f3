"""All commands as methods."""

from __future__ import annotations

from quorate.kv.store.coordination import Coordination
from quorate.kv.store.hashes import Hashes
from quorate.kv.store.keys import Keys
from quorate.kv.store.lists import Lists
from quorate.kv.store.sets import Sets
from quorate.kv.store.sorted_set_algebra import SortedSetAlgebra
from quorate.kv.store.sorted_set_ranges import SortedSetRanges
from quorate.kv.store.sorted_sets import SortedSets
from quorate.kv.store.strings import Bits, Strings
from quorate.kv.store.waiting import Waiting


class Commands(
    Strings, Bits, Keys, Hashes, Lists, Sets, SortedSets, SortedSetRanges, SortedSetAlgebra, Coordination, Waiting
):
    """Each command as a method, by the name that redis-py gives it."""
