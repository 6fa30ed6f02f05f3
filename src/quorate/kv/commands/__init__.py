"""All commands on data; importing this declares them."""

from __future__ import annotations

from quorate.kv.commands import (
    bitfields,
    bits,
    counters,
    deadlines,
    hashes,
    inspection,
    keys,
    lists,
    sets,
    sorted_set_algebra,
    sorted_set_ranges,
    sorted_sets,
    strings,
)

__all__ = [
    "bitfields",
    "bits",
    "counters",
    "deadlines",
    "hashes",
    "inspection",
    "keys",
    "lists",
    "sets",
    "sorted_set_algebra",
    "sorted_set_ranges",
    "sorted_sets",
    "strings",
]
