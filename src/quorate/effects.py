"""Effects on models and keys that come about together with the end of a task.

::

    {"models": [{"op": "update", "resource": "orders", "id": 7, "body": {"paid": true}}],
     "keys": [["SET", "last", "7"], ["INCRBY", "count", 1]]}

``models`` has operations as ``POST /api/_transaction`` takes them; ``keys`` writes of the Redis protocol.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from quorate.kv.machine import MACHINE as KV
from quorate.kv.registry import COMMANDS
from quorate.kv.store.encoding import encoded
from quorate.kv.trial import KeysRefused, check_alone
from quorate.models.machine import MACHINE as MODELS
from quorate.rest.http import RequestError, finding
from quorate.rest.json import malformed
from quorate.tasks.effects import Effect

if TYPE_CHECKING:
    from quorate.models.rest.transactions import TransactionResource


class _Given(msgspec.Struct, forbid_unknown_fields=True):
    models: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    keys: list[list[str | int | float]] = []


_decode = msgspec.json.Decoder(_Given).decode
_encode = msgspec.msgpack.Encoder().encode


class AppEffects:
    """Those that are possible on one node."""

    def __init__(self, transactions: TransactionResource | None, *, keys: bool) -> None:
        """``transactions`` reads operations on models; ``keys``: there is a key-value store."""
        self._transactions = transactions
        self._has_keys = keys

    def parts(self, document: bytes) -> list[Effect]:
        """See :class:`~quorate.tasks.effects.PossibleEffects`."""
        try:
            given = _decode(document)
        except msgspec.ValidationError as error:
            raise malformed(error) from None
        effects: list[Effect] = []
        if given.models is not msgspec.UNSET:
            if self._transactions is None:
                raise _refused("models", "unknown", "this node serves no models")
            effects.append((MODELS, self._transactions.command(b'{"operations":%b}' % bytes(given.models))))
        if given.keys:
            if not self._has_keys:
                raise _refused("keys", "unknown", "this node keeps no keys")
            effects.append((KV, _encode(_requests(given.keys))))
        return effects


def _requests(given: list[list[str | int | float]]) -> list[list[bytes]]:
    """For the key-value machine, in which they are all carried out or none: see :mod:`quorate.kv.trial`."""
    requests = []
    for position, arguments in enumerate(given):
        request = [encoded(argument) for argument in arguments]
        name = request[0].upper() if request else b""
        spec = COMMANDS.get(name)
        if spec is None or spec.internal or not spec.write:
            said = name.decode()[:64]
            raise _refused("keys", "command", f"request {position}: {said!r} is no command that writes keys")
        requests.append([name, *request[1:]])
    try:
        check_alone(requests)
    except KeysRefused as refusal:
        raise _refused("keys", "refused", str(refusal)) from None
    return requests


def _refused(field: str, reason: str, message: str) -> RequestError:
    return RequestError(422, f"effects: {message}", errors=[finding(f"effects.{field}", reason, message)])
