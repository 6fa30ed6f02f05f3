"""This node's clients who wait for what is applied: watches, subscribers, blocked ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quorate.kv.keyspace import Change
    from quorate.kv.server.notifications import Notifications
    from quorate.kv.server.pubsub import PubSub
    from quorate.kv.server.watches import Watches
    from quorate.kv.takers import Takers


class Audience:
    """A :class:`~quorate.kv.feed.Listener` for all of them."""

    def __init__(self, pubsub: PubSub, notifications: Notifications, watches: Watches, takers: Takers) -> None:
        self._notifications = notifications
        self._watches = watches
        self._takers = takers
        self.published = pubsub.publish

    @property
    def wants_changes(self) -> bool:
        """Whether there is anyone."""
        return bool(self._watches or self._takers or self._notifications.are_wanted)

    def applied(self, changes: list[Change]) -> None:
        """Tell them."""
        self._notifications.send(changes)
        self._watches.tell(changes)
        if self._takers:
            self._takers.wake(dict.fromkeys([key for _, key, _, _ in changes]))

    def begun_anew(self, told: int) -> None:
        """The state is another one."""
        self._watches.begin_anew(told)
        self._takers.wake_all()
