"""Who may administer: with a token whoever shows it, without one whoever reaches the port, but no foreign page."""

from __future__ import annotations

import logging
from pathlib import Path
from socket import gethostname

import httpx
import pytest

from quorate.config import NodeConfig, admin_token_of
from quorate.errors import ConfigError
from quorate.ops.members import ClusterMembers, Refused
from quorate.web.admin import administers
from quorate.web.origins import is_of_members
from quorate.web.server import NodeServer

from .support import StartCluster, client_of

TOKEN = "a-token-of-24-characters"
RIGHT = {"authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [
        ("POST", "/cluster/leader", True),
        ("DELETE", "/cluster/members/2", True),
        ("PATCH", "/cluster/members/2", True),
        ("PUT", "/admin/faults", True),
        ("POST", "/admin/sql", True),
        ("POST", "/dashboard/anything", True),
        ("POST", "/dashboard", True),
        ("GET", "/cluster/members", False),
        ("HEAD", "/status", False),
        ("OPTIONS", "/cluster/leader", False),
        ("POST", "/clusters", False),
        ("POST", "/docs", False),
    ],
)
def test_what_administers(method: str, path: str, needed: bool) -> None:
    assert administers(method, path) is needed


async def test_with_a_token_only_who_shows_it_administers_and_everybody_reads(start_cluster: StartCluster) -> None:
    (server,) = await start_cluster(1, admin_token=TOKEN)
    async with client_of(server) as client:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {TOKEN}"}):
            for method, path in (
                ("POST", "/cluster/leader"),
                ("DELETE", "/cluster/members/1"),
                ("PUT", "/admin/faults"),
                ("POST", "/dashboard/site/cluster/leader"),
            ):
                refused = await client.request(method, path, headers=headers)
                assert (refused.status_code, refused.headers["content-type"]) == (401, "application/problem+json")
                error = ', error="invalid_token"' if headers else ""
                assert refused.headers["www-authenticate"] == f'Bearer realm="quorate"{error}'
                assert refused.json()["outcome"] == "not_applied"
        assert (await client.post("/cluster/leader", json={"node_id": 1}, headers=RIGHT)).json()["leader"] == 1
        assert (await client.post("/dashboard/site/cluster/leader", json={"node_id": 1}, headers=RIGHT)).json()[
            "leader"
        ] == 1
        for path in ("/status", "/health", "/cluster/members", "/dashboard", "/dashboard/about", "/docs"):
            assert (await client.get(path)).status_code == 200
        assert (await client.post("/api/shelves", json={"name": "open"})).status_code == 201


async def test_the_command_line_s_client_shows_the_token(start_cluster: StartCluster) -> None:
    (server,) = await start_cluster(1, admin_token=TOKEN)
    async with ClusterMembers([server.config.address], admin_token=TOKEN) as members:
        assert (await members.change("POST", "leader", {"node_id": 1}))["leader"] == 1
    async with ClusterMembers([server.config.address]) as members:
        with pytest.raises(Refused, match="admin token"):
            await members.change("POST", "leader", {"node_id": 1})


async def test_without_a_token_a_foreign_page_may_not_administer(server: NodeServer, client: httpx.AsyncClient) -> None:
    address = server.config.address
    port = address.rpartition(":")[2]
    for origin in ("http://evil.example", f"http://evil.example:{port}", "null", f"ftp://{address}", "http://"):
        refused = await client.post("/cluster/leader", headers={"origin": origin})
        assert (refused.status_code, refused.json()["outcome"]) == (403, "not_applied")
    for headers in ({}, {"origin": f"http://{address}"}, {"origin": "http://here", "host": "here"}):
        assert (await client.post("/cluster/leader", json={"node_id": 1}, headers=headers)).status_code == 200
    rebound = {"origin": f"http://evil.example:{port}", "host": f"evil.example:{port}"}
    assert (await client.post("/cluster/leader", json={"node_id": 1}, headers=rebound)).status_code == 403


@pytest.mark.parametrize(
    ("origin", "host", "is_theirs"),
    [
        ("http://localhost:8080", "localhost:8080", True),
        ("http://localhost:8081", "localhost:8080", True),
        ("http://localhost:3000", "localhost:8080", False),
        ("https://10.0.0.7", "10.0.0.7", True),
        ("http://[fe80::1]:8080", "[fe80::1]:8080", True),
        ("http://a.cluster.example:8080", None, True),
        ("http://A.Cluster.example:8080", "a.cluster.example:8080", True),
        ("http://a.cluster.example", "a.cluster.example", True),
        (f"http://{gethostname()}:8080", f"{gethostname()}:8080", True),
        ("http://evil.example:8080", "evil.example:8080", False),
        ("http://evil.example", "evil.example", False),
        ("http://127.0.0.1.evil.example:8080", "127.0.0.1.evil.example:8080", False),
        ("http://localhost.:8080", "localhost.:8080", False),
        ("http://999.0.0.1:8080", "999.0.0.1:8080", False),
        ("http://localhost:8080", "evil.example:8080", False),
        ("file://localhost:8080", "localhost:8080", False),
    ],
)
def test_a_page_is_a_member_s_only_under_a_name_that_no_stranger_can_own(
    origin: str, host: str | None, is_theirs: bool
) -> None:
    assert is_of_members(origin, host, ["a.cluster.example:8080", "10.1.0.1:8081"]) is is_theirs


async def test_the_token_is_told_to_nobody(start_cluster: StartCluster, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    (server,) = await start_cluster(1, admin_token=TOKEN)
    async with client_of(server) as client:
        texts = [(await client.get(path)).text for path in ("/status", "/dashboard/about", "/openapi.json")]
        texts.append((await client.post("/cluster/leader", headers={"authorization": "Bearer other"})).text)
    assert not any(TOKEN in text for text in (*texts, caplog.text, repr(server.config)))


def test_the_token_stands_in_a_variable_or_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    assert admin_token_of(None, file) == admin_token_of(TOKEN, None) == TOKEN
    assert admin_token_of(None, None) is None
    assert NodeConfig(node_id=1, admin_token_file=file).admin_secret == TOKEN
    with pytest.raises(ConfigError, match="not both"):
        admin_token_of(TOKEN, file)
    with pytest.raises(ConfigError, match="No such file"):
        admin_token_of(None, tmp_path / "none")
    file.write_text("\n")
    with pytest.raises(ConfigError, match="it is empty"):
        admin_token_of(None, file)
    for wrong in ("two\nlines", "naïve", " before"):
        with pytest.raises(ConfigError, match="printable ASCII"):
            admin_token_of(wrong, None)
