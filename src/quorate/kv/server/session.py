"""What a client has said about itself and its connection, and the commands that concern nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quorate.kv.arguments import integer
from quorate.kv.registry import COMMANDS
from quorate.kv.replies import OK, PONG, QUEUED, SYNTAX, CommandError, Status
from quorate.kv.resp.writer import encode_2, encode_3

if TYPE_CHECKING:
    from quorate.kv.registry import Spec
    from quorate.kv.server.connection import Connection
    from quorate.kv.server.service import Service

QUEUED_MAX = 10_000
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
    in_transaction: bool
    """Whether it is carried out at once between ``MULTI`` and ``EXEC``."""


SESSION_COMMANDS: dict[bytes, SessionSpec] = {}
"""By their names in capitals."""


def session_command(
    name: str, arity: int, *, in_transaction: bool = False
) -> Callable[[SessionHandler], SessionHandler]:
    """Declare the function below as the command ``name`` on connections."""

    def declare(handler: SessionHandler) -> SessionHandler:
        summary = (handler.__doc__ or "").partition("\n")[0]
        SESSION_COMMANDS[name.encode()] = SessionSpec(arity, handler, summary, in_transaction)
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
        self._queue = queue
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
        check_arity(request, known.arity)
        if not self.is_authenticated and known.handler not in (auth, hello, quit_, reset):
            raise CommandError("NOAUTH Authentication required.")
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
        except CommandError:
            self.is_spoiled = True
            raise
        self.queue.append(request)
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


def unknown_command(request: Sequence[bytes]) -> CommandError:
    """There is no such command."""
    shown = " ".join(f"'{each[:128].decode('latin-1')}'" for each in request[1:5])
    name = request[0][:128].decode("latin-1")
    return CommandError(f"ERR unknown command '{name}', with args beginning with: {shown}")


def check_arity(request: Sequence[bytes], arity: int) -> None:
    """Raises :class:`CommandError` for too many or too few arguments."""
    if len(request) != arity if arity > 0 else len(request) < -arity:
        raise CommandError(f"ERR wrong number of arguments for '{request[0].decode('latin-1').lower()}' command")


@session_command("PING", -1)
def ping(session: Session, request: Sequence[bytes]) -> Any:
    """Answers PONG, or what it is given."""
    if len(request) > 2:
        raise CommandError("ERR wrong number of arguments for 'ping' command")
    if session.is_subscribed:
        return [b"pong", request[1] if len(request) == 2 else b""]
    return request[1] if len(request) == 2 else PONG


@session_command("ECHO", 2)
def echo(session: Session, request: Sequence[bytes]) -> Any:
    """Answers what it is given."""
    return request[1]


@session_command("SELECT", 2)
def select(session: Session, request: Sequence[bytes]) -> Any:
    """There is database 0, and no other."""
    if integer(request[1], "ERR invalid DB index") != 0:
        raise CommandError("ERR DB index is out of range")
    return OK


@session_command("QUIT", -1)
def quit_(session: Session, request: Sequence[bytes]) -> Any:
    """Answers OK and closes the connection."""
    session.connection.end_behind_reply()
    return OK


@session_command("RESET", 1, in_transaction=True)
def reset(session: Session, request: Sequence[bytes]) -> Any:
    """Has the connection be as at its beginning."""
    session.reset()
    return Status(b"RESET")


@session_command("AUTH", -2)
def auth(session: Session, request: Sequence[bytes]) -> Any:
    """Says who the client is."""
    if len(request) > 3:
        raise CommandError(SYNTAX)
    session.authenticate(request[1] if len(request) == 3 else b"default", request[-1])
    return OK


@session_command("HELLO", -1)
def hello(session: Session, request: Sequence[bytes]) -> Any:
    """Agrees on the protocol's version, and tells what this server is."""
    version = session.version
    if len(request) > 1:
        version = integer(request[1], "ERR Protocol version is not an integer or out of range")
        if version not in (2, 3):
            raise CommandError("NOPROTO unsupported protocol version")
    name, at = session.name, 2
    while at < len(request):
        option, rest = request[at].upper(), request[at + 1 :]
        if option == b"AUTH" and len(rest) >= 2:
            session.authenticate(rest[0], rest[1])
            at += 3
        elif option == b"SETNAME" and rest:
            name = checked_name(rest[0])
            at += 2
        else:
            raise CommandError(f"ERR Syntax error in HELLO option '{request[at].decode('latin-1')}'")
    if not session.is_authenticated:
        raise CommandError("NOAUTH HELLO must be called with the client already authenticated, otherwise the "
                           "HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and "
                           "select the RESP protocol version at the same time")  # fmt: skip
    session.name = name
    session.speak(version)
    return session.service.greeting(session)


def checked_name(name: bytes) -> bytes:
    """A name that fits into a list of names. Raises :class:`CommandError`."""
    if any(not 33 <= byte <= 126 for byte in name):
        raise CommandError("ERR Client names cannot contain spaces, newlines or special characters.")
    return name
