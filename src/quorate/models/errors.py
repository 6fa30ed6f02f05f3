"""What the models machine refuses, and how a request is refused before it reaches the log.

::

    CommandFailed
    └── ModelRefusal         refused by every node alike, when the command was applied
        ├── NotFound         no object has this id
        ├── Conflict         a unique value is taken, or a foreign key would dangle
        ├── VersionMismatch  the object is not of the version that was expected
        ├── Immutable        the field may not change after creation
        ├── Invalid          the object breaks a rule of its model
        ├── RuleBroken       an event's method says no, or would leave what breaks a rule
        └── InTransaction    one of these, and which operation it was
    NotApplied
    └── NotInForce           this node's app declares what is not in force yet
    DoneInPart               the change is applied, but what this node was to keep for itself was not kept
    StorageFailed
    ├── SchemaBehind         the log holds something that this node's declarations do not know
    └── SchemaAhead          ... something that takes the code of an earlier version of the app

A refusal's ``args`` are plain data: a retry gets it rebuilt from them (see :mod:`quorate.machine.outcome`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from quorate.errors import CommandFailed, NotApplied, QuorateError, StorageFailed

MESSAGE_CHARACTERS_MAX = 500
"""What a refusal says of an error in the app's own code is cut to this: it is kept for retries."""


class SchemaBehind(StorageFailed):
    """A committed command names a model, a field or a kind of change that this node does not declare.

    Skipping it would let this node's state drift from the others', so the node must stop and be
    started again with the current declarations.
    """


class NotInForce(NotApplied):
    """The node runs another version of the app than the cluster, and waits for the other nodes to do so, too."""

    def __init__(self, version: int) -> None:
        super().__init__(f"what this node's app declares (version {version} of its schema) is not in force yet")
        self.version = version


class DoneInPart(QuorateError):
    """A change is applied on a majority, but not what it sets of the fields that each node has for itself.

    ``version`` is that of the (first) object now, ``ids`` are those of all objects as JSON has them, and ``fields`` are
    the names of what was not kept; there are none if this node could only not read what it has of its own to show it.
    The same request with the same request id tries the rest again, and nothing is applied twice.
    """

    def __init__(self, model: str, version: int, ids: Sequence[object], fields: Sequence[str], reason: str) -> None:
        super().__init__(model, version, ids, fields, reason)
        self.model, self.version, self.ids, self.fields, self.reason = model, version, ids, fields, reason

    def __str__(self) -> str:
        what = f"{', '.join(self.fields)} not kept on this node" if self.fields else "its values on this node not read"
        return f"the {self.model} is stored, as version {self.version}, but {what}: {self.reason}"


class SchemaAhead(StorageFailed):
    """A command was made by an earlier version of the app, and only its code could tell what the command does.

    Before the new version is declared (:mod:`quorate.models.store.evolution`) the other nodes run that code, so this
    node must not guess.
    """


class ModelRefusal(CommandFailed):
    """A command on a model was refused and changed nothing. ``model`` is the model's class name."""

    model: str


class NotFound(ModelRefusal):
    """No object of ``model`` has the id ``key``."""

    def __init__(self, model: str, key: str) -> None:
        super().__init__(model, key)
        self.model, self.key = model, key

    def __str__(self) -> str:
        return f"no {self.model} has the id {self.key}"


class Conflict(ModelRefusal):
    """The change contradicts another object.

    ``reason`` is ``unique`` (``field`` already has this ``value`` elsewhere), ``unique_together`` (several fields have
    theirs), ``foreign_key`` (``field`` names an object that does not exist), ``referenced`` (``field``, given as
    ``Model.field``, still refers to the object with the id ``value``) or ``too_many`` (by ``field``, more would follow
    it than one deletion may delete). ``value`` is empty for a field that does not leave the server. ``row`` counts
    from 0 in a bulk command and is ``None`` otherwise.
    """

    def __init__(self, model: str, field: str, reason: str, value: str, row: int | None = None) -> None:
        super().__init__(model, field, reason, value, row)
        self.model, self.field, self.reason, self.value, self.row = model, field, reason, value, row

    def __str__(self) -> str:
        if self.reason == "referenced":
            return f"{self.field} still refers to the {self.model} {self.value}"
        if self.reason == "too_many":
            return f"too many objects would follow the {self.model} {self.value}: {self.field}"
        if self.reason == "foreign_key":
            return f"{self.model}.{self.field} refers to {self.value or 'something'}, which does not exist"
        if not self.value or self.reason == "unique_together":
            return f"another {self.model} has the same {self.field}" + (f": {self.value}" if self.value else "")
        return f"another {self.model} has the {self.field} {self.value!r}"


class VersionMismatch(ModelRefusal):
    """The object ``key`` is of another version than was expected: ``version``, or ``None`` if it is not there."""

    def __init__(self, model: str, key: str, version: int | None) -> None:
        super().__init__(model, key, version)
        self.model, self.key, self.version = model, key, version

    def __str__(self) -> str:
        if self.version is None:
            return f"no {self.model} has the id {self.key}"
        return f"the {self.model} {self.key} has changed: it is of version {self.version} now"


class RuleBroken(ModelRefusal):
    """The method of ``event`` refused, with ``message``."""

    def __init__(self, model: str, event: str, message: str) -> None:
        super().__init__(model, event, message)
        self.model, self.event, self.message = model, event, message

    def __str__(self) -> str:
        return self.message


class Immutable(ModelRefusal):
    """``field`` is immutable and the command would change it."""

    def __init__(self, model: str, field: str) -> None:
        super().__init__(model, field)
        self.model, self.field = model, field

    def __str__(self) -> str:
        return f"{self.model}.{self.field} is immutable"


class Invalid(ModelRefusal):
    """The object breaks rules of its model.

    ``findings`` are field, reason and message of each broken rule, one after the other, which keeps the
    arguments plain; :attr:`errors` groups them.
    """

    def __init__(self, model: str, row: int | None, *findings: str) -> None:
        super().__init__(model, row, *findings)
        self.model, self.row = model, row
        self.errors = list(zip(findings[::3], findings[1::3], findings[2::3], strict=True))

    @classmethod
    def of(cls, model: str, errors: Iterable[tuple[str, str, str]], row: int | None = None) -> Invalid:
        """From (field, reason, message) triples."""
        return cls(model, row, *(part for error in errors for part in error))

    def __str__(self) -> str:
        return f"{self.model}: " + "; ".join(f"{field or 'object'}: {text}" for field, _, text in self.errors)


class InTransaction(ModelRefusal):
    """The operation at ``position``, from 0, of a transaction was refused with ``refusal``; none has any effect."""

    def __init__(self, position: int, kind: str, arguments: Sequence[object]) -> None:
        super().__init__(position, kind, list(arguments))
        self.position = position
        self.refusal: ModelRefusal = _BY_NAME[kind](*arguments)
        self.model = self.refusal.model

    @classmethod
    def of(cls, position: int, refusal: ModelRefusal) -> InTransaction:
        """The refusal of one operation as that of the transaction."""
        return cls(position, type(refusal).__name__, refusal.args)

    def __str__(self) -> str:
        return f"operation {self.position}: {self.refusal}"


_BY_NAME: dict[str, type[ModelRefusal]] = {
    kind.__name__: kind for kind in (NotFound, Conflict, VersionMismatch, RuleBroken, Immutable, Invalid)
}
