"""A member that votes and holds no data: its clients are told so, and never that there is nothing."""

from __future__ import annotations

import pytest
import redis.exceptions

from tests.node.support import until

from .clients import serving

NO_DATA = "witness: it holds no data"
REFUSED = [
    ("GET", "k"),
    ("SUBSCRIBE", "news"),
    ("QUORATE.WATCH", "KEY", "k"),
    ("QUORATE.WATCH", "KEY", "k", "FROM", 1),
]


async def test_clients_of_a_witness_are_told_that_it_holds_no_data() -> None:
    async with serving(2) as doors:
        leader = await doors.cluster.wait_for_leader()
        async with doors.client(leader) as client:
            await client.set("k", "v")
        witness = await doors.cluster.join()
        await leader.members.add(witness.node_id, witness.config.address, role="witness")
        await until(lambda: witness.is_witness)
        await doors.open(witness)
        async with doors.client(witness) as client:
            for words in REFUSED:
                with pytest.raises(redis.exceptions.ClusterDownError, match=NO_DATA):
                    await client.execute_command(*words)
            with pytest.raises(redis.exceptions.ClusterDownError):
                await client.set("k", "w")
            assert await client.execute_command("READONLY")
            for words in REFUSED:
                with pytest.raises(redis.exceptions.ClusterDownError, match=NO_DATA):
                    await client.execute_command(*words)
