"""Lists without an end, and SQL, over HTTP."""

from __future__ import annotations

import asyncio

from .support import StartCluster, client_of, until

BOOKS = 500


async def test_all_objects_come_as_one_array_from_any_node(start_cluster: StartCluster) -> None:
    servers = await start_cluster(3, forward_writes=True)
    async with client_of(servers[0]) as client:
        created = await client.post("/api/books/_bulk", json=[{"title": f"book {n}"} for n in range(BOOKS)])
        assert created.status_code == 201
    for server in servers:
        async with client_of(server) as client:
            answer = await client.get("/api/books?limit=all")
            assert answer.headers["x-total-count"] == str(BOOKS)
            assert answer.headers["transfer-encoding"] == "chunked"
            assert answer.json() == created.json()
            head = await client.head("/api/books?limit=all")
            assert (head.status_code, head.content) == (200, b"")
            assert (await client.get("/api/books/count?title__startswith=book")).json() == {"count": BOOKS}


async def test_who_leaves_amid_a_list_leaves_nothing_behind(start_cluster: StartCluster) -> None:
    (server,) = await start_cluster(1)
    machine = server._models
    assert machine is not None
    async with client_of(server) as client:
        for at in range(8):
            books = [{"title": f"{at} {n} {'x' * 2000}"} for n in range(1000)]
            await client.post("/api/books/_bulk", json=books)
    reader, writer = await asyncio.open_connection(server.config.host, server.config.port)
    writer.write(b"GET /api/books?limit=all HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    await until(lambda: len(machine.queries._readers) == 1)
    writer.transport.abort()
    await until(lambda: not machine.queries._readers)


async def test_sql_is_not_served_unless_it_is_asked_for(start_cluster: StartCluster) -> None:
    (server,) = await start_cluster(1)
    async with client_of(server) as client:
        off = await client.post("/admin/sql", json={"sql": "SELECT 1"})
        assert (off.status_code, "--admin-sql" in off.json()["detail"]) == (404, True)
        assert "/admin/sql" not in (await client.get("/openapi.json")).json()["paths"]


async def test_sql_is_answered_with_columns_and_rows(start_cluster: StartCluster) -> None:
    servers = await start_cluster(3, forward_writes=True, admin_sql=True)
    async with client_of(servers[0]) as client:
        created = (await client.post("/api/books", json={"title": "Emma", "price": "12.50"})).json()
    for server in servers:
        async with client_of(server) as client:
            sql = "SELECT uuid(id) AS id, title, decimal(price) AS price FROM model_book WHERE title = :title"
            answer = await client.post("/admin/sql", json={"sql": sql, "params": {"title": "Emma"}})
            assert answer.json() == {
                "columns": ["id", "title", "price"],
                "rows": [[created["id"], "Emma", "12.5"]],
                "truncated": False,
            }


async def test_bad_questions_in_sql_are_told_apart(start_cluster: StartCluster) -> None:
    (server,) = await start_cluster(1, admin_sql=True)
    async with client_of(server) as client:
        for body, status in (
            ({"sql": "SELECT nothing"}, 422),
            ({"sql": "DELETE FROM model_book"}, 422),
            ({"sql": "SELECT ?", "params": []}, 422),
            ({"sql": "SELECT :a", "params": {"b": 1}}, 422),
            ({"sql": 5}, 422),
            ({"sql": "SELECT ?", "params": [[1]]}, 422),
            ({"sql": "SELECT 1", "more": 1}, 422),
            ({}, 422),
        ):
            answer = await client.post("/admin/sql", json=body)
            assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), body
        broken = await client.post("/admin/sql", content=b"{", headers={"content-type": "application/json"})
        assert broken.status_code == 400
        assert (await client.post("/admin/sql", content=b"{}")).status_code == 415
        large = {"sql": "SELECT 1", "params": ["x" * 2_000_000]}
        assert (await client.post("/admin/sql", json=large)).status_code == 413
        assert (await client.get("/admin/sql")).status_code == 405
        assert "/admin/sql" in (await client.get("/openapi.json")).json()["paths"]
        fine = await client.post("/admin/sql", json={"sql": "SELECT ?, ?", "params": [1, None]})
        assert fine.json()["rows"] == [[1, None]]
