"""The commands that there are: each declared where it is written, with what clients and routing need to know of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quorate.kv.replies import CommandError, Reply

if TYPE_CHECKING:
    from quorate.kv.keyspace import Keyspace

log = logging.getLogger(__name__)

Arguments = Sequence[bytes]
"""A command as it came: its name in capitals, then its arguments."""
Handler = Callable[["Keyspace", Arguments], Reply]
Check = Callable[[Arguments], object]
Weigh = Callable[["Keyspace", Arguments], int]
Frees = Callable[[Arguments], bool]


@dataclass(frozen=True, slots=True)
class Keys:
    """Where the keys are: from the argument ``first`` to ``last`` (negative: from the end), each ``step``-th.

    Where ``counted`` is not 0, that argument says how many more keys come behind it.
    """

    first: int = 0
    last: int = 0
    step: int = 1
    counted: int = 0

    def of(self, arguments: Arguments) -> list[bytes]:
        """The keys of one command."""
        keys: list[bytes] = []
        if self.first:
            last = self.last if self.last >= 0 else len(arguments) + self.last
            keys.extend(arguments[self.first : last + 1 : self.step])
        if self.counted:
            count = arguments[self.counted]
            keys.extend(arguments[self.counted + 1 :][: int(count) if len(count) < 10 and count.isdigit() else 0])
        return keys


ONE_KEY = Keys(1, 1)
ALL_KEYS = Keys(1, -1)
COUNTED_KEYS = Keys(counted=1)
NO_KEYS = Keys()


@dataclass(frozen=True, slots=True)
class Spec:
    """One command.

    ``arity`` counts the name; negative, it is the least number. A ``write`` goes through the log, and ``check`` raises
    what its arguments alone tell to be wrong, so that bad input never gets there.
    """

    name: bytes
    arity: int
    group: str
    summary: str
    write: bool
    keys: Keys
    handler: Handler
    check: Check | None = None
    internal: bool = False
    """Whether it is for the log alone, and no client may send it."""
    blocking: bool = False
    """Whether a client waits for what it asks for, outside of transactions: then the connection sees to it."""
    weigh: Weigh | None = None
    """About how many bytes it copies beside its arguments: see :mod:`quorate.kv.weights`."""
    freeing: bool | Frees = False
    """Whether it is for having less, or no more, and so is carried out where there is no more memory: always, or with
    some arguments."""

    def check_arguments(self, arguments: Arguments) -> None:
        """Raises :class:`CommandError` for what can be told without the data."""
        count = len(arguments)
        if count != self.arity if self.arity > 0 else count < -self.arity:
            raise CommandError(f"ERR wrong number of arguments for '{self.name.decode().lower()}' command")
        if self.check is not None:
            self.check(arguments)

    def is_freeing(self, arguments: Arguments) -> bool:
        """Whether it is, with arguments that were checked."""
        return self.freeing if isinstance(self.freeing, bool) else self.freeing(arguments)

    def answer(self, keyspace: Keyspace, arguments: Arguments) -> Reply:
        """The reply to a read, be it an error."""
        try:
            return self.handler(keyspace, arguments)
        except CommandError as refusal:
            return refusal.with_traceback(None)
        except Exception as error:  # one that fails is no reason to leave those waiting that are read with it
            log.exception("%r failed", self.name)
            return CommandError(f"ERR internal error: {type(error).__name__}")


COMMANDS: dict[bytes, Spec] = {}
"""All commands on data, by their names in capitals. Those on connections are the server's."""
PLAIN_COMMANDS: dict[bytes, Spec] = {}
"""Those that go from a client to the log, or to the data, as they are."""


def command(
    name: str,
    arity: int,
    *,
    group: str,
    write: bool = False,
    keys: Keys = ONE_KEY,
    check: Check | None = None,
    internal: bool = False,
    blocking: bool = False,
    weigh: Weigh | None = None,
    freeing: bool | Frees = False,
) -> Callable[[Handler], Handler]:
    """Declare the function below as the command ``name``. Its docstring's first line is the summary in the docs."""

    def declare(handler: Handler) -> Handler:
        encoded = name.encode()
        assert encoded not in COMMANDS, name
        summary = (handler.__doc__ or "").partition("\n")[0]
        spec = Spec(encoded, arity, group, summary, write, keys, handler, check, internal, blocking, weigh, freeing)
        COMMANDS[encoded] = spec
        if not (internal or blocking):
            PLAIN_COMMANDS[encoded] = spec
        return handler

    return declare
