"""A replicated shop: two declared models and a task, served by every node of a cluster.

quorate node --node-id 1 --port 8080 --peers 127.0.0.1:8081,127.0.0.1:8082 --data-dir data/node1 --app examples.shop:app
quorate worker --app examples.shop:app --cluster 127.0.0.1:8080,127.0.0.1:8081,127.0.0.1:8082
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from uuid import UUID

from quorate import App, Model, event, field


class Category(Model):
    id: UUID = field(primary_key=True)
    name: str = field(unique=True, min_length=1)


class Product(Model):
    id: UUID = field(primary_key=True)  # a UUIDv7, stamped by the leader when it is left out
    name: str = field(unique=True, min_length=1, audited=True, track_history=True, retention=timedelta(days=90))
    price: Decimal = field(ge="0.01", consistent_read=True)
    stock: int = field(default=0, ge=0, indexed=True)
    category_id: UUID | None = field(default=None, foreign_key=Category, on_delete="restrict")

    @event
    def stock_changed(self, delta: int) -> None:  # POST /api/products/{id}/stock-changed {"delta": -1}
        self.stock += delta


app = App(models=[Category, Product], title="Shop")


@app.task(queue="mail", retries=3, timeout="30s")
async def send_offer(to: str, product: str) -> str:  # POST /api/v1/tasks {"type": "send_offer", "payload": {…}}
    return f"offered {product} to {to}"
