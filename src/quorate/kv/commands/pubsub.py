"""Messages to clients, and where the changes of the keys have got to."""

from __future__ import annotations

from quorate.kv.keyspace import Keyspace
from quorate.kv.registry import NO_KEYS, Arguments, command
from quorate.kv.replies import Receivers, Reply


@command("PUBLISH", 3, group="pubsub", write=True, freeing=True, keys=NO_KEYS)
def publish(db: Keyspace, arguments: Arguments) -> Reply:
    """Send a message to the subscribers of a channel on all nodes; answers how many on this one got it."""
    return Receivers(0 if db.on_publish is None else db.on_publish(arguments[1], arguments[2]))


@command("QUORATE.HEAD", 1, group="watches", keys=NO_KEYS)
def head(db: Keyspace, arguments: Arguments) -> Reply:
    """The revision of the latest change: that of the data which a transaction around it reads."""
    return db.revision
