"""What a client sees of one node: every status, every error a problem (RFC 9457), nothing bad in the log."""

from __future__ import annotations

from uuid import UUID, uuid4

import httpx
import pytest

from quorate.web.server import NodeServer

JSON = {"content-type": "application/json"}


async def test_an_object_lives_its_life(client: httpx.AsyncClient) -> None:
    created = await client.post("/api/books", json={"title": "Dune", "price": "9.5"})
    assert created.status_code == 201
    book = created.json()
    assert UUID(book["id"]).version == 7
    assert book == {"id": book["id"], "title": "Dune", "isbn": None, "price": "9.5", "shelf_id": None}
    assert created.headers["location"] == f"/api/books/{book['id']}"

    path = created.headers["location"]
    assert (await client.get(path)).json() == book
    assert (await client.patch(path, json={"price": "8"})).json() == book | {"price": "8"}
    replaced = await client.put(path, json={"title": "Dune II"})
    assert replaced.json() == book | {"title": "Dune II", "price": "1"}
    assert (await client.get("/api/books")).json() == [replaced.json()]
    assert (await client.get("/api/books/random-id")).json() == {"id": book["id"]}
    deleted = await client.delete(path)
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert "content-length" not in deleted.headers
    assert (await client.get(path)).status_code == 404
    assert (await client.get("/api/books/count")).json() == {"count": 0}


async def test_what_a_node_says_of_itself_and_what_is_wrong_ends_its_line(client: httpx.AsyncClient) -> None:
    pages = ["/status", "/health", "/cluster/members", "/cluster/members/1", "/cluster/leader", "/openapi.json"]
    for path in [*pages, "/nowhere", "/api/nothing", "/cluster/members/9"]:
        answer = await client.get(path)
        assert (answer.status_code == 200) is (path in pages)
        assert answer.content.endswith(b"}\n"), path


async def test_a_list_is_paged(client: httpx.AsyncClient) -> None:
    await client.post("/api/books/_bulk", json=[{"title": f"book {number}"} for number in range(5)])
    page = await client.get("/api/books", params={"limit": 2, "offset": 2})
    assert [book["title"] for book in page.json()] == ["book 2", "book 3"]
    assert page.headers["x-total-count"] == "5"
    assert 'rel="next"' in page.headers["link"]
    assert 'rel="prev"' in page.headers["link"]


BAD_REQUESTS = [
    pytest.param("POST", "/api/books", JSON, b'{"title": "x"', 400, id="malformed JSON"),
    pytest.param("POST", "/api/books", JSON, b"", 400, id="no body"),
    pytest.param("POST", "/api/books", JSON, b"\xff\xfe", 400, id="not UTF-8"),
    pytest.param("POST", "/api/books", JSON, b"[" * 50_000, 400, id="deep nesting"),
    pytest.param("POST", "/api/books", {"content-type": "text/plain"}, b'{"title":"x"}', 415, id="content type"),
    pytest.param("POST", "/api/books", JSON, b'{"title":""}', 422, id="constraint"),
    pytest.param("POST", "/api/books", JSON, b'{"title":"x","price":"0"}', 422, id="below the minimum"),
    pytest.param("POST", "/api/books", JSON, b'{"title":"x","colour":"red"}', 422, id="unknown field"),
    pytest.param("POST", "/api/books", JSON, b'{"title":"x","price":1e400}', 400, id="a number beyond all bounds"),
    pytest.param("POST", "/api/books", JSON, b'"' + b"x" * 70_000 + b'"', 413, id="too large"),
    pytest.param("PUT", f"/api/books/{uuid4()}", JSON, b'{"title":"x"}', 404, id="unknown id"),
    pytest.param("PATCH", f"/api/books/{uuid4()}", JSON, b'{"title":"x"}', 404, id="patch of an unknown id"),
    pytest.param("DELETE", "/api/books/no-id", {}, b"", 404, id="impossible id"),
    pytest.param("DELETE", "/api/books", {}, b"", 405, id="method"),
    pytest.param("PUT", "/api/books/count", JSON, b"{}", 405, id="method on a count"),
    pytest.param("POST", "/status", JSON, b"{}", 405, id="method on status"),
    pytest.param("GET", "/api/books?limit=many", {}, b"", 422, id="bad limit"),
    pytest.param("GET", "/api/books?consistency=maybe", {}, b"", 422, id="bad consistency"),
    pytest.param("GET", "/api/films", {}, b"", 404, id="unknown resource"),
    pytest.param("GET", "/nowhere", {}, b"", 404, id="unknown path"),
]


@pytest.mark.parametrize(("method", "path", "headers", "body", "status"), BAD_REQUESTS)
async def test_a_bad_request_is_a_problem_and_never_reaches_the_log(
    server: NodeServer,
    client: httpx.AsyncClient,
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes,
    status: int,
) -> None:
    before = server.node.status.last_index
    answer = await client.request(method, path, headers=headers, content=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert ("allow" in answer.headers) == (status == 405)
    assert server.node.status.last_index == before


async def test_a_refused_field_is_named_with_the_reason(client: httpx.AsyncClient) -> None:
    problem = (await client.post("/api/books", json={"title": "x", "price": "0.001"})).json()
    (error,) = problem["errors"]
    assert error["field"] == "price"
    assert error["reason"]
    assert error["message"]


async def test_constraints_between_objects_are_conflicts(client: httpx.AsyncClient) -> None:
    shelf = (await client.post("/api/shelves", json={"name": "A"})).json()
    book = await client.post("/api/books", json={"title": "x", "shelf_id": shelf["id"], "isbn": "1"})
    twin = await client.post("/api/books", json={"title": "x"})
    assert (twin.status_code, twin.json()["errors"][0]["field"]) == (409, "title")
    dangling = await client.post("/api/books", json={"title": "y", "shelf_id": str(uuid4())})
    assert (dangling.status_code, dangling.json()["errors"][0]["field"]) == (409, "shelf_id")
    assert (await client.delete(f"/api/shelves/{shelf['id']}")).status_code == 409
    frozen = await client.patch(book.headers["location"], json={"isbn": "2"})
    assert (frozen.status_code, frozen.json()["errors"][0]["field"]) == (422, "isbn")


async def test_a_bulk_create_is_all_or_nothing(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/books/_bulk", json=[{"title": "a"}, {"title": "b"}, {"title": "a"}])
    assert (answer.status_code, answer.json()["errors"][0]["row"]) == (409, 2)
    assert (await client.get("/api/books/count")).json() == {"count": 0}


async def test_an_idempotency_key_makes_a_retry_safe(client: httpx.AsyncClient) -> None:
    headers = {"idempotency-key": "order-7"}
    first = await client.post("/api/books", json={"title": "x"}, headers=headers)
    again = await client.post("/api/books", json={"title": "x"}, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    other = await client.post("/api/books", json={"title": "y"}, headers=headers)
    assert other.status_code == 422
    refused = {"idempotency-key": "order-8"}
    conflicts = [await client.post("/api/books", json={"title": "x"}, headers=refused) for _ in range(2)]
    assert [answer.status_code for answer in conflicts] == [409, 409]
    assert conflicts[0].json() == conflicts[1].json()


async def test_the_description_covers_every_path(client: httpx.AsyncClient) -> None:
    description = (await client.get("/openapi.json")).json()
    assert description["openapi"].startswith("3.1")
    assert {"/api/books", "/api/books/{id}", "/api/shelves/_bulk", "/status", "/health"} <= set(description["paths"])


async def test_the_docs_come_from_this_node_alone(client: httpx.AsyncClient) -> None:
    page = (await client.get("/docs")).text
    assert "https://" not in page
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert asset in page
        assert (await client.get(f"/docs/assets/{asset}")).status_code == 200


async def test_the_status_tells_the_role_and_the_indexes(client: httpx.AsyncClient) -> None:
    await client.post("/api/books", json={"title": "x"})
    status = (await client.get("/status")).json()
    assert (status["node_id"], status["role"], status["leader"], status["storage_profile"]) == (
        1,
        "leader",
        1,
        "durable",
    )
    assert status["commit_index"] == status["applied_index"] == 3  # behind the term's beginning and the declaration
    assert (await client.get("/health")).status_code == 200
