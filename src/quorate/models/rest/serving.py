"""What the resources of one node have in common."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from quorate.models.freshness import consistency_of
from quorate.models.local import LocalFields, LocalStore
from quorate.models.store.schema import ModelSchema
from quorate.node.reads import Consistency


@dataclass(frozen=True, slots=True)
class Served:
    """``consistency`` is that of reads which do not say and return no field that is ``consistent_read``."""

    consistency: Consistency = "strong"
    local: LocalStore = field(default_factory=LocalStore)

    def consistency_of(self, schema: ModelSchema, names: Iterable[str]) -> Consistency:
        """The consistency of reads that return these fields and do not say another."""
        return consistency_of(schema, names, self.consistency)

    def local_fields(self, schema: ModelSchema) -> LocalFields | None:
        """Those of a model, if it has any."""
        return LocalFields(schema, self.local) if schema.local_columns else None
