"""What a client has said about itself and its connection, and how its commands on connections are carried out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quorate.kv.registry import COMMANDS, NO_KEYS, Keys
from quorate.kv.replies import QUEUED, CommandError
from quorate.kv.resp.writer import encode_2, encode_3

if TYPE_CHECKING:
    from quorate.kv.registry import Spec
    from quorate.kv.server.connection import Connection
    from quorate.kv.server.service import Service

QUEUED_MAX = 10_000
NO_AUTH = "NOAUTH Authentication required."
NOT_IN_TRANSACTION = "ERR Command not allowed inside a transaction"
WHILE_SUBSCRIBED = frozenset(
    b"SUBSCRIBE PSUBSCRIBE UNSUBSCRIBE PUNSUBSCRIBE QUORATE.WATCH QUORATE.UNWATCH PING QUIT RESET".split()
)
LATER = object()
"""Stands for a reply that comes when something has been written or read."""

SessionHandler = Callable[["Session", Sequence[bytes]], Any]


@dataclass(frozen=True, slots=True)
class SessionSpec:
    """A command on a connection: ``arity`` as in :class:`~quorate.kv.registry.Spec`."""

    arity: int
    handler: SessionHandler
    summary: str
    group: str
    in_transaction: bool = False
    """Whether it is carried out at once between ``MULTI`` and ``EXEC``."""
    needs_password: bool = True
    """Whether it is for clients alone that have said the password, if there is one."""
    admin: bool = False
    """Whether it is for who looks after the server."""
    keys: Keys = NO_KEYS


SCRIPTING = frozenset((b"EVAL", b"EVALSHA", b"EVAL_RO", b"EVALSHA_RO", b"SCRIPT", b"FCALL", b"FUNCTION"))
"""What clients' own recipes for locks and the like send."""
SESSION_COMMANDS: dict[bytes, SessionSpec] = {}
"""By their names in capitals."""


def session_command(
    name: str,
    arity: int,
    *,
    group: str,
    in_transaction: bool = False,
    needs_password: bool = True,
    admin: bool = False,
    keys: Keys = NO_KEYS,
) -> Callable[[SessionHandler], SessionHandler]:
    """Declare the function below as the command ``name`` on connections."""

    def declare(handler: SessionHandler) -> SessionHandler:
        summary = (handler.__doc__ or "").partition("\n")[0]
        spec = SessionSpec(arity, handler, summary, group, in_transaction, needs_password, admin, keys)
        SESSION_COMMANDS[name.encode()] = spec
        return handler

    return declare


class Session:
    """One client's."""

    def __init__(self, connection: Connection, service: Service) -> None:
        self.connection = connection
        self.service = service
        self.client_id = service.next_client_id()
        self.name = b""
        self.library: dict[bytes, bytes] = {}
        self.is_authenticated = service.password is None
        self.reads_locally = False
        self.version = 2
        self.sees_all = False
        """Whether it is asked about every command: behind ``MULTI``, and where RESP2 has messages come in between."""
        self.is_subscribed = False
        """Whether messages come in between in RESP2: then replies could not be told from them."""
        self._queue: list[list[bytes]] | None = None
        self._queued_bytes = 0
        self.is_spoiled = False
        """Whether one of them was refused."""
        self.watched: dict[bytes, int] = {}
        """Keys that must not change before ``EXEC``, at the revisions that they had."""

    @property
    def queue(self) -> list[list[bytes]] | None:
        """The commands since ``MULTI``."""
        return self._queue

    @queue.setter
    def queue(self, queue: list[list[bytes]] | None) -> None:
        self._queue, self._queued_bytes = queue, 0
        self.update()

    def update(self) -> None:
        """The protocol, what the client listens to, or whether it is in a transaction, may be another."""
        is_told = self.service.pubsub.count(self.connection) or self.service.watches.count(self.connection)
        self.is_subscribed = self.version == 2 and bool(is_told)
        self.sees_all = self.is_subscribed or self._queue is not None

    def perform(self, request: list[bytes]) -> Any:
        """The reply to a command on the connection, or to one that waits for ``EXEC``. Raises :class:`CommandError`."""
        name = request[0].upper()
        known, spec = SESSION_COMMANDS.get(name), COMMANDS.get(name)
        if self.is_subscribed and name not in WHILE_SUBSCRIBED:
            raise CommandError(
                f"ERR Can't execute '{name[:128].decode('latin-1').lower()}': only (P|S)SUBSCRIBE / "
                "(P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
            )
        if self.queue is not None and (known is None or not known.in_transaction):
            return self._queued(request, spec)
        if known is None:
            raise unknown_command(request)
        if known.needs_password and not self.is_authenticated:
            raise CommandError(NO_AUTH)
        check_arity(request, known.arity)
        return known.handler(self, request)

    def _queued(self, request: list[bytes], spec: Spec | None) -> Any:
        assert self.queue is not None
        try:
            if spec is None or spec.internal:
                known = request[0].upper() in SESSION_COMMANDS
                raise CommandError(NOT_IN_TRANSACTION) if known else unknown_command(request)
            request[0] = spec.name
            spec.check_arguments(request)
            self.service.check(self, spec, request)
            if len(self.queue) >= QUEUED_MAX:
                raise CommandError(f"ERR a transaction has at most {QUEUED_MAX} commands")
            size, bytes_max = sum(map(len, request)), self.service.bounds.request_bytes_max
            if self._queued_bytes + size > bytes_max:
                raise CommandError(f"ERR a transaction has at most {bytes_max} bytes")
        except CommandError:
            self.is_spoiled = True
            raise
        self.queue.append(request)
        self._queued_bytes += size
        return QUEUED

    def speak(self, version: int) -> None:
        """Use RESP2 or RESP3 from now on."""
        self.version = version
        self.connection.encode = encode_3 if version == 3 else encode_2
        self.update()

    def reset(self) -> None:
        """Be as at the beginning."""
        self.service.pubsub.forget(self.connection)
        self.service.watches.end(self.connection)
        self.watched.clear()
        self.queue, self.is_spoiled = None, False
        self.name, self.reads_locally = b"", False
        self.is_authenticated = self.service.password is None
        self.speak(2)

    def authenticate(self, user: bytes, password: bytes) -> None:
        """Raises ``WRONGPASS``."""
        if self.service.password is None:
            raise CommandError(
                "ERR AUTH <password> called without any password configured for the default user. "
                "Are you sure your configuration is correct?"
            )
        if user != b"default" or not self.service.is_password(password):
            raise CommandError("WRONGPASS invalid username-password pair or user is disabled.")
        self.is_authenticated = True


def is_command(name: bytes) -> bool:
    """Whether clients may send a command of this name, which is in capitals."""
    spec = COMMANDS.get(name)
    return name in SESSION_COMMANDS or (spec is not None and not spec.internal)


def unknown_command(request: Sequence[bytes]) -> CommandError:
    """There is no such command."""
    shown = " ".join(f"'{each[:128].decode('latin-1')}'" for each in request[1:5])
    name = request[0][:128].decode("latin-1")
    if request[0].upper() in SCRIPTING:
        return CommandError(
            f"ERR unknown command '{name}': there are no scripts here; see MULTI, QUORATE.CAS and QUORATE.LOCK"
        )
    return CommandError(f"ERR unknown command '{name}', with args beginning with: {shown}")


def check_arity(request: Sequence[bytes], arity: int) -> None:
    """Raises :class:`CommandError` for too many or too few arguments."""
    if len(request) != arity if arity > 0 else len(request) < -arity:
        raise CommandError(f"ERR wrong number of arguments for '{request[0].decode('latin-1').lower()}' command")
