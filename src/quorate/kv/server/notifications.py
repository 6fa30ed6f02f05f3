"""Changes of keys as messages on channels, as Redis has them: ``__keyspace@0__:<key>`` and ``__keyevent@0__:<event>``.

Each node sends its own, to its own clients, when it applies a change. Off unless asked for.
What Redis says of them: https://redis.io/docs/latest/develop/pubsub/keyspace-notifications/
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from quorate.kv.replies import CommandError

if TYPE_CHECKING:
    from quorate.kv.keyspace import Change
    from quorate.kv.server.pubsub import PubSub

CLASSES = {
    "$": "set setrange append incrby incrbyfloat setbit",
    "l": "lpush rpush lpop rpop linsert lset lrem ltrim",
    "s": "sadd srem spop sinterstore sunionstore sdiffstore",
    "h": "hset hdel hincrby hincrbyfloat",
    "z": "zadd zincr zrem zpopmin zpopmax zrangestore zunionstore zinterstore zdiffstore "
    "zremrangebyrank zremrangebyscore zremrangebylex",
    "x": "expired",
}
"""The events of each class; all others are generic, ``g``."""
CLASS_OF = {event: letter for letter, events in CLASSES.items() for event in events.split()}
ALL = "g$lshzxetd"
"""What ``A`` stands for. Of ``etd`` nothing comes: nothing is evicted, and there are neither streams nor modules."""
LETTERS = f"A{ALL}KE"


class Notifications:
    """Which of them are sent."""

    def __init__(self, pubsub: PubSub, flags: str = "") -> None:
        """Raises as :meth:`set` does."""
        self._pubsub = pubsub
        self._flags: frozenset[str] = frozenset()
        self.set(flags)

    def set(self, flags: str) -> None:
        """Send these, by Redis' letters. Raises :class:`CommandError` for one that means nothing here."""
        if not set(flags) <= set(LETTERS):
            raise CommandError(
                "ERR CONFIG SET failed (possibly related to argument 'notify-keyspace-events') - "
                f"Invalid event class character. Use '{LETTERS}'."
            )
        self._flags = frozenset(flags.replace("A", ALL))

    @property
    def flags(self) -> str:
        """As Redis writes them."""
        classes = "".join(letter for letter in ALL if letter in self._flags)
        return ("A" if classes == ALL else classes) + "".join(each for each in "KE" if each in self._flags)

    @property
    def are_wanted(self) -> bool:
        """Whether any are to be sent, and anyone listens to anything."""
        return bool(self._flags) and bool(self._pubsub.channels.by_name or self._pubsub.patterns.by_name)

    def send(self, changes: Iterable[Change]) -> None:
        """Tell of changes, in their order."""
        for event, key, _, _ in changes:
            if CLASS_OF.get(event, "g") in self._flags:
                name = event.encode()
                if "K" in self._flags:
                    self._pubsub.publish(b"__keyspace@0__:" + key, name)
                if "E" in self._flags:
                    self._pubsub.publish(b"__keyevent@0__:" + name, key)
