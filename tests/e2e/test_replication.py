"""All nodes take writes and serve reads, and the rules of the models hold across them."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from quorate.ops.history import History
from quorate.ops.local_cluster import LocalCluster
from quorate.ops.writers import Writers
from quorate.rest.http_client import HttpClient

from .support import create_product, leader_and_followers, verdict_on


async def test_clients_create_in_parallel_on_all_nodes(cluster: LocalCluster, http: HttpClient) -> None:
    """A2.23."""
    history = History()
    await Writers(cluster, http, history, clients=24).create(500)
    verdict = await verdict_on(cluster, http, history)
    assert verdict.acknowledged == 500
    assert verdict.good, verdict


async def test_an_acknowledged_write_is_in_every_strong_read_at_once(
    shared_cluster: LocalCluster, http: HttpClient
) -> None:
    nodes = list(shared_cluster.nodes.values())
    for number in range(30):
        product = await create_product(http, nodes[number % 3], f"product {number}")
        answers = await asyncio.gather(*(http.get(f"{node.url}/api/products/{product['id']}") for node in nodes))
        assert [answer.status for answer in answers] == [200, 200, 200]
        assert all(answer.json() == product for answer in answers)


async def test_a_name_is_unique_whichever_node_takes_the_write(shared_cluster: LocalCluster, http: HttpClient) -> None:
    """A2.24."""
    for number in range(10):
        product = {"name": f"unique {number}", "price": "1.00"}
        tries = (http.post(f"{url}/api/products", product) for url in shared_cluster.urls)
        answers = await asyncio.gather(*tries)
        assert sorted(answer.status for answer in answers) == [201, 409, 409]
        refusal = next(answer for answer in answers if answer.status == 409)
        assert refusal.headers["content-type"] == "application/problem+json"
        assert refusal.json()["errors"][0]["field"] == "name"
    for url in shared_cluster.urls:
        assert (await http.get(f"{url}/api/products/count?name__contains=unique")).json() == {"count": 10}


async def test_a_foreign_key_holds_across_nodes(shared_cluster: LocalCluster, http: HttpClient) -> None:
    """A2.25."""
    first, second, third = shared_cluster.nodes.values()
    category = (await http.post(f"{first.url}/api/categories", {"name": "Wood"})).json()
    product = await create_product(http, second, "Ash", category_id=category["id"])
    assert product["category_id"] == category["id"]

    orphan = {"name": "Elm", "price": "1.00", "category_id": str(uuid4())}
    refused = await http.post(f"{third.url}/api/products", orphan)
    assert refused.status == 409
    assert refused.json()["errors"][0]["field"] == "category_id"

    kept = await http.request("DELETE", f"{third.url}/api/categories/{category['id']}")
    assert kept.status == 409, kept.text
    assert (await http.request("DELETE", f"{second.url}/api/products/{product['id']}")).status == 204
    assert (await http.request("DELETE", f"{third.url}/api/categories/{category['id']}")).status == 204
    for url in shared_cluster.urls:
        assert (await http.get(f"{url}/api/categories")).json() == []


async def test_a_bulk_request_is_one_atomic_entry_on_every_node(shared_cluster: LocalCluster, http: HttpClient) -> None:
    _, (follower, other) = await leader_and_followers(shared_cluster)
    rows = [{"name": f"bulk {number}", "price": "2.50"} for number in range(1000)]
    created = await http.post(f"{follower.url}/api/products/_bulk", rows)
    assert created.status == 201, created.text[:200]
    assert len({row["id"] for row in created.json()}) == 1000

    half_new = [{"name": "new", "price": "1.00"}, {"name": "bulk 7", "price": "1.00"}]
    assert (await http.post(f"{other.url}/api/products/_bulk", half_new)).status == 409
    for url in shared_cluster.urls:
        assert (await http.get(f"{url}/api/products/count?name__contains=bulk")).json() == {"count": 1000}
        assert (await http.get(f"{url}/api/products/count?name=new")).json() == {"count": 0}


async def test_a_retry_with_the_same_key_is_applied_once_on_any_node(
    shared_cluster: LocalCluster, http: HttpClient
) -> None:
    product, key = {"name": "Oak", "price": "19.99"}, {"idempotency-key": "order-4711"}
    answers = [await http.post(f"{url}/api/products", product, key) for url in shared_cluster.urls]
    assert [answer.status for answer in answers] == [201, 201, 201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert (await http.get(f"{shared_cluster.urls[0]}/api/products/count?name=Oak")).json() == {"count": 1}
