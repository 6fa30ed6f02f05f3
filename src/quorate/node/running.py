"""The parts of a node that are there once it takes part in its group."""

from __future__ import annotations

from dataclasses import dataclass

from quorate.node.group import Group
from quorate.node.membership import Membership
from quorate.node.snapshots.service import Snapshots
from quorate.storage.store import GroupStore
from quorate.storage.writer import Writer
from quorate.transport.contract import Transport


@dataclass(frozen=True, slots=True)
class Running:
    """Made by :func:`~quorate.node.assembly.assemble`."""

    writer: Writer
    group: Group
    membership: Membership
    snapshots: Snapshots
    store: GroupStore
    transport: Transport

    def start(self) -> None:
        """Set them going."""
        self.membership.start()
        self.group.start()
        self.snapshots.start()
