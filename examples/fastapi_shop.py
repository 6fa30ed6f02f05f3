"""A FastAPI service that keeps its data itself: each of its processes is a node of the cluster.

Three of them, in three terminals, or on three machines (``pip install fastapi uvicorn``):

    NODE_ID=1 uvicorn examples.fastapi_shop:api --port 8001 --timeout-graceful-shutdown 5
    NODE_ID=2 uvicorn examples.fastapi_shop:api --port 8002 --timeout-graceful-shutdown 5
    NODE_ID=3 uvicorn examples.fastapi_shop:api --port 8003 --timeout-graceful-shutdown 5

    curl -X POST localhost:8001/products -H 'content-type: application/json' -d '{"name": "Oak", "price": "19.99"}'
    curl -X POST localhost:8002/products/Oak/sell -H 'content-type: application/json' -d '{"quantity": 1}'
    curl localhost:8003/products
    curl localhost:8003/api/products            # the models' own API, mounted beside the service's
    curl localhost:8003/health

The nodes talk to each other on ports of their own (``PEERS``). Each process is a single worker.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from uuid import UUID

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, ValidationError

from quorate import App, Model, Node, QuorateError, RaftConfig, event, field
from quorate.web.problems import problem_of
from quorate.web.site import Site


class Product(Model):
    id: UUID = field(primary_key=True)
    name: str = field(unique=True, min_length=1)
    price: Decimal = field(ge="0.01")
    stock: int = field(default=0, ge=0)

    @event
    def sold(self, quantity: int) -> None:
        if self.stock < quantity:
            raise ValueError(f"only {self.stock} of {self.name} are left")
        self.stock -= quantity


class Sale(Model):
    id: UUID = field(primary_key=True)
    product_id: UUID = field(foreign_key=Product)
    quantity: int = field(gt=0)
    total: Decimal


shop = App(models=[Product, Sale], title="Shop")


class NewProduct(BaseModel):
    name: str  # what a product may be is said once, by the model
    price: Decimal
    stock: int = 1


class Order(BaseModel):
    quantity: int = Field(default=1, gt=0)


def node_config() -> RaftConfig:
    """What the environment says of this process: ``NODE_ID``, ``PEERS`` and ``DATA_DIR``."""
    node_id = os.environ.get("NODE_ID", "1")
    peers = os.environ.get("PEERS", "127.0.0.1:7001,127.0.0.1:7002,127.0.0.1:7003")
    data_dir = os.environ.get("DATA_DIR", f"data/shop{node_id}")
    return RaftConfig(node_id=int(node_id), cluster_nodes=tuple(peers.split(",")), data_dir=Path(data_dir))


@asynccontextmanager
async def lifespan(api: FastAPI) -> AsyncIterator[None]:
    async with Node(node_config(), app=shop) as node:
        api.state.node = node
        api.mount("/api", Site.of(node))
        yield


api = FastAPI(title="Shop", lifespan=lifespan)


@api.exception_handler(QuorateError)
async def refused(_request: Request, error: QuorateError) -> Response:
    """Whatever an endpoint leaves to be raised has the status that it has in the models' own API."""
    return problem_of(error).as_response()


@api.exception_handler(ValidationError)
async def invalid(_request: Request, error: ValidationError) -> Response:
    """A value that a model does not allow: FastAPI knows only what its own models do not."""
    return JSONResponse({"detail": error.errors(include_url=False, include_context=False, include_input=False)}, 422)


@api.get("/health")
async def health(request: Request) -> dict[str, int]:
    node: Node = request.app.state.node
    await node.read_barrier(timeout=1.0)  # ReadUnavailable, and so 503, while the node could not serve
    return {"node_id": node.node_id}


@api.post("/products", status_code=201)
async def add_product(new: NewProduct) -> Product:
    return await Product.create(**new.model_dump())


@api.get("/products")
async def list_products(price_to: Decimal | None = None) -> list[Product]:
    found = Product.filter() if price_to is None else Product.filter(price__lte=price_to)
    return await found.order_by("name").limit(100)


@api.post("/products/{name}/sell", status_code=201)
async def sell(name: str, order: Order) -> Sale:
    product = await Product.filter(name=name).first()
    if product is None:
        raise HTTPException(404, f"there is no product {name}")
    async with shop.transaction():  # the sale is written and the stock goes down, or neither: 409
        await product.sold(quantity=order.quantity)
        total = product.price * order.quantity
        return await Sale.create(product_id=product.id, quantity=order.quantity, total=total)
