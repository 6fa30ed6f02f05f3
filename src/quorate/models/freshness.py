"""How fresh a read is that does not say: the same over HTTP and in Python."""

from __future__ import annotations

from collections.abc import Iterable

from quorate.models.store.schema import ModelSchema
from quorate.node.reads import Consistency


def consistency_of(schema: ModelSchema, names: Iterable[str], default: Consistency) -> Consistency:
    """The consistency of reads that return these fields, of an app whose ``read_consistency`` is ``default``."""
    shown = set(names)
    promised = any(column.consistent_read and column.name in shown for column in schema.columns)
    return "strong" if promised else default
