"""What a node with models serves of them, by the first part of the path below the prefix."""

from __future__ import annotations

from quorate.app import App
from quorate.models.local import LocalStore
from quorate.models.machine import ModelsMachine
from quorate.models.rest.event_pages import PATH as EVENTS
from quorate.models.rest.event_pages import EventPages
from quorate.models.rest.resource import ModelResource
from quorate.models.rest.serving import Served
from quorate.models.rest.transactions import PATH as TRANSACTION
from quorate.models.rest.transactions import TransactionResource
from quorate.models.rest.watching import PATH as WATCH
from quorate.models.rest.watching import Watching
from quorate.node.node import Node

Resource = ModelResource | TransactionResource | EventPages | Watching


class ModelResources:
    """Those of one node."""

    def __init__(self, app: App, machine: ModelsMachine, node: Node, local: LocalStore, prefix: str) -> None:
        served = Served(app.read_consistency, local)
        self.watching = Watching(machine, node, app.schemas)
        self.transactions = TransactionResource(app.schemas, machine, node, served)
        resources = {
            schema.resource: ModelResource(schema, machine, node, watching=self.watching, served=served, prefix=prefix)
            for schema in app.schemas
        }
        self.all: dict[str, Resource] = {
            WATCH: self.watching,
            EVENTS: EventPages(machine, node, app.schemas, prefix=prefix),
            TRANSACTION: self.transactions,
            **resources,
        }
        self.local = {name: each.local for name, each in resources.items() if each.local is not None}
        """What each node has values of its own for, of those models that have such."""
