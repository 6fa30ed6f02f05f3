"""All commands on data; importing this declares them."""

from __future__ import annotations

from quorate.kv.commands import (
    bitfields,
    bits,
    blocking,
    counters,
    deadlines,
    hashes,
    inspection,
    keys,
    lcs,
    leases,
    lists,
    locks,
    pubsub,
    revisions,
    sets,
    sorted_set_algebra,
    sorted_set_ranges,
    sorted_sets,
    sorting,
    strings,
)

__all__ = [
    "bitfields",
    "bits",
    "blocking",
    "counters",
    "deadlines",
    "hashes",
    "inspection",
    "keys",
    "lcs",
    "leases",
    "lists",
    "locks",
    "pubsub",
    "revisions",
    "sets",
    "sorted_set_algebra",
    "sorted_set_ranges",
    "sorted_sets",
    "sorting",
    "strings",
]
