"""``POST /api/_transaction``: operations on objects of any models, all of them carried out or none.

::

    {"operations": [
        {"op": "create", "resource": "products", "body": {"id": "0190…", "name": "Oak", "price": "19.99"}},
        {"op": "update", "resource": "products", "id": "0190…", "body": {"price": "18.50"}, "version": 41},
        {"op": "replace", "resource": "categories", "id": "0190…", "body": {"name": "Wood"}},
        {"op": "call", "resource": "products", "id": "0190…", "event": "stock-changed", "arguments": {"delta": 5}},
        {"op": "check", "resource": "products", "id": "0190…", "version": 7},
        {"op": "delete", "resource": "products", "id": "0190…"}
    ]}

200: ``{"results": [{"object": …, "version": …}, …]}``, one for each operation. A refusal says by ``operation``, counted
from 0, which it is about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, cast

import msgspec

from quorate.models.commands import Call, Check, Create, Delete, MergePatch, Operation, Patch, Replace
from quorate.models.errors import InTransaction, ModelRefusal, NotFound
from quorate.models.local import Kept
from quorate.models.machine import ModelsMachine
from quorate.models.rest.bodies import BodyReader, FieldChanges
from quorate.models.rest.refusals import from_refusal
from quorate.models.rest.serving import Served
from quorate.models.store.columns import INT64_MAX, SqlValue
from quorate.models.store.schema import ModelSchema, Row
from quorate.models.submitting import Submitter
from quorate.node.ports import Engine
from quorate.rest import heads, params
from quorate.rest.http import JSON_TYPE, Headers, RequestError, Response, finding, not_allowed
from quorate.rest.json import malformed, parse_strictly

OPERATIONS_MAX = 1_000
PATH = "_transaction"

_Version = Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]


class _Given(msgspec.Struct, forbid_unknown_fields=True, tag_field="op", kw_only=True):
    """An operation as the request has it."""

    resource: str


class _Create(_Given, tag="create"):
    body: msgspec.Raw


class _OnOne(_Given):
    id: str | int
    version: _Version | None = None


class _Replace(_OnOne, tag="replace", kw_only=True):
    body: msgspec.Raw


class _Update(_OnOne, tag="update", kw_only=True):
    body: msgspec.Raw


class _Delete(_OnOne, tag="delete"):
    pass


class _Call(_OnOne, tag="call", kw_only=True):
    event: str
    arguments: msgspec.Raw = msgspec.Raw(b"{}")


class _Check(_OnOne, tag="check"):
    pass


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    operations: list[msgspec.Raw]


_decode_request = msgspec.json.Decoder(_Request).decode
_decode_operation = msgspec.json.Decoder(_Create | _Replace | _Update | _Delete | _Call | _Check).decode
_members_of = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class TransactionResource:
    """Serves transactions over all models of an app."""

    def __init__(
        self, schemas: Iterable[ModelSchema], machine: ModelsMachine, engine: Engine, served: Served | None = None
    ) -> None:
        schemas, served = tuple(schemas), served or Served()
        self._machine = machine
        self._engine = engine
        self._schemas = {schema.name: schema for schema in schemas}
        self._local = {schema.name: fields for schema in schemas if (fields := served.local_fields(schema))}
        self._models: Mapping[str, tuple[ModelSchema, BodyReader]] = {
            schema.resource: (schema, BodyReader(schema)) for schema in schemas
        }
        self._submitter = Submitter(engine, machine)

    async def handle(self, method: str, tail: str, query: bytes, headers: Headers, body: bytes) -> Response:
        """Answer one request. Raises :class:`RequestError`, and what the engine raises."""
        if tail:
            raise RequestError(404, f"there is nothing below {PATH}")
        if method != "POST":
            raise not_allowed(method, ("POST",))
        head = self._head(query, headers)
        operations = self._operations(body)
        try:
            results = await self._submitter.all(operations, actor=head.actor, request_id=head.request_id)
        except ModelRefusal as refusal:
            if not isinstance(refusal, InTransaction):
                refusal = InTransaction.of(0, refusal)  # of one operation the machine does not say which it is
            raise from_refusal(refusal) from None
        if self._local:
            await self._engine.read_barrier(consistency="eventually")  # a snapshot may be taking the state's place
        answers = [self._answer(operation, result) for operation, result in zip(operations, results, strict=True)]
        return Response(200, [JSON_TYPE], b'{"results":[' + b",".join(answers) + b"]}")

    def command(self, body: bytes) -> bytes:
        """What carries out the transaction in ``body``, for the log: it may be a part of a joint command.

        Raises :class:`RequestError`, and :class:`~quorate.models.errors.NotInForce`.
        """
        return self._submitter.command(self._operations(body))

    def _operations(self, body: bytes) -> list[Operation]:
        return [self._read(position, raw) for position, raw in enumerate(_operations(body))]

    def _head(self, query: bytes, headers: Headers) -> heads.WriteHead:
        params.refuse_parameters(query)
        if heads.content_type(headers) != b"application/json":
            raise RequestError(415, "the body should be application/json", headers=[(b"accept", b"application/json")])
        head = heads.write_head(headers)
        if any(name == b"if-match" for name, _ in headers):
            raise RequestError(400, "If-Match is about one object: give the version of each operation instead")
        return head

    def _read(self, position: int, raw: msgspec.Raw) -> Operation:
        try:
            return self._operation(_decoded(raw))
        except ModelRefusal as refusal:
            raise from_refusal(InTransaction.of(position, refusal)) from None
        except RequestError as error:
            found = error.errors or [finding("", "refused", error.detail)]
            errors = [{"operation": position, **each} for each in found]
            raise RequestError(error.status, f"operation {position}: {error.detail}", errors=errors) from None

    def _operation(self, given: _Given) -> Operation:
        known = self._models.get(given.resource)
        if known is None:
            message = f"there is no resource {given.resource[:64]!r} here"
            raise RequestError(404, message, errors=[finding("resource", "unknown", message)])
        schema, bodies = known
        name = schema.name
        if isinstance(given, _Create | _Replace | _Update):
            self._check_shared(schema, given.body)
        if isinstance(given, _Create):
            return Create(name, schema.names, [bodies.object_row(bytes(given.body))])
        assert isinstance(given, _OnOne)
        key, expected = _key(schema, given.id), given.version
        match given:
            case _Replace(body=body):
                values = schema.without_key(bodies.replacement_row(bytes(body), key))
                return Replace(name, key, schema.names_without_key, values, expected)
            case _Update(body=body):
                patch = bodies.patch(bytes(body), key)
                if isinstance(patch, FieldChanges):
                    return Patch(name, key, patch.columns, patch.values, expected)
                return MergePatch(name, key, patch.text, expected)
            case _Call(event=event, arguments=arguments):
                method = next((each for each in schema.events.values() if each.path == event), None)
                if method is None:
                    message = f"{name} has no event {event[:64]!r}"
                    raise RequestError(404, message, errors=[finding("event", "unknown", message)])
                return Call(name, key, method.name, bodies.arguments(method, bytes(arguments)), expected)
            case _Delete():
                return Delete(name, key, expected)
        return Check(name, key, expected)

    def _check_shared(self, schema: ModelSchema, body: msgspec.Raw) -> None:
        """Refuse fields that every node has values of its own for: they are in no log, and so in no transaction."""
        local = self._local.get(schema.name)
        if local is None or not bytes(body).startswith(b"{"):
            return
        for name in local.names:
            if name in _members_of(body):
                message = "Each node keeps this field for itself: it cannot be set in a transaction"
                raise RequestError(422, f"{name}: {message}", errors=[finding(name, "local_field", message)])

    def _answer(self, operation: Operation, result: object) -> bytes:
        match operation:
            case Create(rows=rows):
                version, key = cast("list[SqlValue]", result)
                row = self._schemas[operation.model].with_key(rows[0], key)
            case Delete():
                return b'{"object":null,"version":null}'
            case Check():
                return b'{"object":null,"version":%d}' % cast("int", result)
            case _:
                row, version = cast("tuple[Row, int]", result)
        row, local = tuple(row), self._local.get(operation.model)
        if local is not None:
            with local.behind([Kept(row, cast("int", version), {})]):
                row = local.whole(self._machine.tables[operation.model], row)
        return b'{"object":%b,"version":%d}' % (self._schemas[operation.model].object_json(row), cast("int", version))


def _operations(body: bytes) -> list[msgspec.Raw]:
    parse_strictly(body)
    try:
        operations = _decode_request(body).operations
    except msgspec.ValidationError as error:
        raise malformed(error) from None
    if not 0 < len(operations) <= OPERATIONS_MAX:
        message = f"a transaction has 1 to {OPERATIONS_MAX} operations"
        raise RequestError(422, message, errors=[finding("operations", "length", message)])
    return operations


def _decoded(raw: msgspec.Raw) -> _Given:
    try:
        given: _Given = _decode_operation(raw)
        return given
    except msgspec.ValidationError as error:
        raise malformed(error) from None


def _key(schema: ModelSchema, id: str | int) -> SqlValue:
    key = schema.parse_key(str(id))
    if key is None:
        raise NotFound(schema.name, str(id)[:200])
    return key
