"""Changes that were checked by an earlier version of the schema and come behind the declaration of a later one.

Those are few: what was on its way when the declaration was made. As every node meets them in the same form of the
tables, all turn them into the same change, or refuse them alike.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from quorate.errors import CommandFailed
from quorate.models.commands import Call, Change, Create, MergePatch, Operation, Patch, Replace, Value
from quorate.models.errors import MESSAGE_CHARACTERS_MAX
from quorate.models.migrations import ChangeType, Migration, RemoveField, RenameField, RenameModel
from quorate.models.store.converting import Conversion, steps_of
from quorate.models.store.forms import Form, former_schema
from quorate.models.store.schema import ModelSchema


@dataclass(frozen=True)
class Upgrade:
    """From the form ``before`` of a version to the form ``after``, which is in force, by the migrations between."""

    before: Form
    after: Form
    migrations: Sequence[Migration]

    def change(self, change: Change) -> Change:
        """The change by the declarations in force. Raises :class:`~quorate.errors.CommandFailed` if there is none."""
        try:
            operations = [self._operation(each) for each in change.operations]
        except (CommandFailed, MemoryError):
            raise
        except Exception as error:  # a migration's function, or a value that does not fit: the same on every node
            message = f"made for an earlier version of the schema: {type(error).__name__}: {error}"
            raise CommandFailed(message[:MESSAGE_CHARACTERS_MAX]) from error
        return msgspec.structs.replace(change, operations=operations)

    def _operation(self, operation: Operation) -> Operation:
        steps, name = steps_of(operation.model, self.migrations), operation.model
        for step in steps:
            if isinstance(step, RenameModel):
                name = step.now
        if operation.model not in self.before or name not in self.after:
            raise CommandFailed(f"there is no model {operation.model} any more")
        operation = msgspec.structs.replace(operation, model=name)
        if not steps:
            return operation
        match operation:
            case Create():
                return self._create(operation, steps)
            case Replace() | Patch():
                return self._values(operation, steps)
            case MergePatch():
                return _merge(operation, steps)
            case Call():
                raise CommandFailed(f"{operation.event} was asked for by an earlier version of the schema: ask again")
        return operation

    def _create(self, operation: Create, steps: Sequence[Migration]) -> Create:
        before, after = self._schemas(operation.model, steps)
        conversion = Conversion(before, after, steps)
        rows = [conversion.row(before.with_values(before.defaults, operation.columns, row)) for row in operation.rows]
        return Create(after.name, after.names, rows)

    def _values(self, operation: Replace | Patch, steps: Sequence[Migration]) -> Patch:
        before, after = self._schemas(operation.model, steps)
        changed: dict[str, Value] = {**Conversion(before, after, steps).some(operation.columns, operation.values)}
        return Patch(after.name, operation.key, tuple(changed), tuple(changed.values()), operation.expected)

    def _schemas(self, name: str, steps: Sequence[Migration]) -> tuple[ModelSchema, ModelSchema]:
        """The model called ``name`` now, before the steps and behind them."""
        return former_schema(steps[0].model, self.before), former_schema(name, self.after)


def _merge(operation: MergePatch, steps: Sequence[Migration]) -> MergePatch:
    document = json.loads(operation.document)
    for step in steps:
        match step:
            case RenameField(_, was, now) if was in document:
                document[now] = document.pop(was)
            case RemoveField(_, field):
                document.pop(field, None)
            case ChangeType(_, field, _) if field in document:
                raise CommandFailed(f"{field} has another type in the version of the schema in force: try again")
    return msgspec.structs.replace(operation, document=json.dumps(document))
