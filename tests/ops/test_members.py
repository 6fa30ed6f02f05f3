"""The client of ``/cluster``: whom it asks, and what it makes of the answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from quorate.errors import MembershipConflict, NotApplied, OutcomeUnknown
from quorate.ops import members as members_module
from quorate.ops.members import ClusterMembers, ClusterUnreachable, Refused, WaitedInVain, still_waiting
from quorate.ops.ports import free_ports

Answer = tuple[int, Any]


@asynccontextmanager
async def node(answer: Callable[[str], Answer | None]) -> AsyncIterator[str]:
    """Something that answers ``METHOD path`` by HTTP, or hangs up; its address."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        given = answer(head.partition(" HTTP/")[0])
        if given is not None:
            body = json.dumps(given[1]).encode()
            writer.write(b"HTTP/1.1 %d X\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % (given[0], len(body)))
            writer.write(body)
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


def report(leader_address: str | None = None, **member: Any) -> dict[str, Any]:
    found = {"node_id": 4, "role": "voter", "connected": True, "lag": 0, "snapshot": False, **member}
    return {
        "configuration_index": 3,
        "joint": False,
        "committed": True,
        "leader_address": leader_address,
        "members": [found],
    }


async def test_the_first_that_can_be_reached_is_asked() -> None:
    gone = f"127.0.0.1:{free_ports(1)[0]}"
    async with node(lambda request: (200, report())) as here, ClusterMembers([gone, here]) as client:
        assert await client.look() == report()


async def test_the_leader_is_asked_how_far_the_others_are_if_it_answers() -> None:
    async with (
        node(lambda request: (200, report(lag=5))) as leader,
        node(lambda request: (200, report(leader, lag=None))) as follower,
        ClusterMembers([follower]) as client,
    ):
        assert (await client.look())["members"][0]["lag"] == 5
    gone = f"127.0.0.1:{free_ports(1)[0]}"
    async with node(lambda request: (200, report(gone, lag=None))) as follower, ClusterMembers([follower]) as client:
        assert (await client.look())["members"][0]["lag"] is None


async def test_nobody_answers() -> None:
    async with ClusterMembers([f"127.0.0.1:{port}" for port in free_ports(2)]) as client:
        with pytest.raises(ClusterUnreachable):
            await client.change("DELETE", "members/4")


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, Refused), (409, MembershipConflict), (412, MembershipConflict), (422, Refused), (504, OutcomeUnknown)],
)
async def test_a_refusal_is_told_in_the_cluster_s_own_words(status: int, error: type[Exception]) -> None:
    problem = {"title": "x", "detail": "node 4 is a member already"}
    async with node(lambda request: (status, problem)) as here, ClusterMembers([here]) as client:
        with pytest.raises(error, match="node 4 is a member already"):
            await client.change("POST", "members", {})


async def test_a_change_that_was_sent_and_not_answered_is_not_sent_again() -> None:
    asked: list[str] = []

    def answer(request: str) -> None:
        asked.append(request)

    async with node(answer) as here, node(answer) as other, ClusterMembers([here, other]) as client:
        with pytest.raises(OutcomeUnknown, match="quorate members list"):
            await client.change("DELETE", "members/4")
        assert asked == ["DELETE /cluster/members/4"]
        with pytest.raises(ClusterUnreachable):
            await client.look()
        assert len(asked) == 3  # a look is free


async def test_without_a_leader_it_is_tried_again_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members_module, "RETRY_SECONDS", 0.01)
    no_leader = (503, {"detail": "there is no leader"})
    async with node(lambda request: no_leader) as here, node(lambda request: (200, {"leader": 2})) as other:
        async with ClusterMembers([here, other]) as client:
            assert await client.change("POST", "leader") == {"leader": 2}
        monkeypatch.setattr(members_module, "PATIENCE_SECONDS", 0.05)
        async with ClusterMembers([here]) as client:
            with pytest.raises(NotApplied, match="there is no leader"):
                await client.change("POST", "leader")


async def test_who_does_not_know_of_a_change_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members_module, "RETRY_SECONDS", 0.01)

    def removed(request: str) -> Answer:
        return 200, {**report(), "changed_by": 9}

    after = {**report(), "configuration_index": 9, "members": []}
    async with node(removed) as here, node(lambda request: (200, after)) as other:
        async with ClusterMembers([here, other]) as client:
            assert await client.change_and_look("DELETE", "members/4") == {**after, "changed_by": 9}
        monkeypatch.setattr(members_module, "LOOK_SECONDS", 0.05)
        async with ClusterMembers([here]) as client:
            assert (await client.change_and_look("DELETE", "members/4"))["configuration_index"] == 3


@pytest.mark.parametrize(
    ("member", "words"),
    [
        ({"connected": False}, "it was not reached"),
        ({"snapshot": True, "lag": 9}, "it is being brought a snapshot"),
        ({"role": "learner", "lag": 9}, "it is still a learner and lacks 9 entries"),
        ({"promote": True, "lag": 9}, "it does not vote yet and lacks 9 entries"),
        ({"lag": 9_000}, "it lacks 9000 entries"),
        ({"lag": None}, "it is not up to date"),
        ({"lag": 3}, None),
        ({"node_id": 5}, "it is not a member"),
    ],
)
def test_what_a_new_member_still_lacks(member: dict[str, Any], words: str | None) -> None:
    waiting = still_waiting(report(**member), 4, "voter")
    assert (waiting.text if waiting else None) == words or (
        waiting is not None and waiting.text.startswith(words or "!")
    )


async def test_waiting_ends_with_what_is_still_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members_module, "RETRY_SECONDS", 0.01)
    told: list[str] = []
    async with node(lambda request: (200, report(connected=False))) as here, ClusterMembers([here]) as client:
        with pytest.raises(WaitedInVain, match=r"after 0\.05 s it was not reached"):
            await client.wait_for(4, 0.05, role="voter", progress=lambda waiting: told.append(waiting.text))
    assert told
