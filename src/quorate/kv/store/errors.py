"""What the store refuses.

::

    CommandFailed
    └── KvError                      a command was refused; ``code`` says why in a word
        ├── TransactionConflict      ... a watched key has changed: nothing of the transaction was applied
        ├── TransactionRefused       ... some commands of a transaction were; the others have been applied
        ├── LockLost                 ... a lock or a lease is no longer held
        └── WatchCompacted           ... what a watch would have to tell is not known any more

The rest of the tree is in :mod:`quorate.errors`.
"""

from __future__ import annotations

from collections.abc import Sequence

from quorate.errors import CommandFailed
from quorate.kv.replies import CommandError


class KvError(CommandFailed):
    """The store refused a command, which changed nothing."""

    @property
    def code(self) -> str:
        """The first word of the message: ``ERR``, ``WRONGTYPE``, …"""
        return str(self).partition(" ")[0]


class TransactionConflict(KvError):
    """A key that a transaction watched has changed; nothing was applied. Read again, and try again."""

    def __init__(self, message: str = "CONFLICT a watched key has changed, nothing was applied") -> None:
        super().__init__(message)


class TransactionRefused(KvError):
    """Some commands of a transaction were refused. The others have been applied, as one.

    ``results`` are those of all its commands, in their order, a :class:`KvError` for each that was refused.
    """

    def __init__(self, message: str, results: Sequence[object] = ()) -> None:
        super().__init__(message)
        self.results = list(results)


class LockLost(KvError):
    """What was to be done under a lock or a lease may have gone on after its end: another may hold it by now."""


class WatchCompacted(KvError):
    """Changes that a watch has not told are not known here any more: it was too slow, or began too far back.

    Read what is there now, and watch from there on. ``first`` is the oldest revision that is known.
    """

    def __init__(self, message: str, first: int = 0) -> None:
        super().__init__(message)
        self.first = first


def as_error(refusal: CommandError) -> KvError:
    """A refusal, as Python programs get to see it."""
    return KvError(refusal.line)
