"""What one client can have a node hold, copy or wait for: bounded, however its requests multiply."""

from __future__ import annotations

import asyncio

import pytest

from quorate.kv import gathering
from quorate.kv.commands.bits import COMBINED_BYTES_MAX
from quorate.kv.commands.strings import STRING_BYTES_MAX
from quorate.kv.keyspace import Keyspace
from quorate.kv.replies import REPLY_BYTES_MAX, CommandError
from quorate.kv.server import connection
from quorate.kv.server.connection import WAITING_MAX
from quorate.kv.server.service import Limits
from quorate.kv.transactions import COPIED_BYTES_MAX, LEFT_OUT, Transaction, as_request, checked_weight
from tests.node.support import until

from .clients import serving
from .support import run
from .wire import Wire, wire

MIB = 1 << 20
BIG = b"x" * (8 * MIB)


# -- replies ---------------------------------------------------------------------------------------------


async def test_who_does_not_take_replies_is_cut_off_and_its_reads_are_not_carried_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving(1, limits=Limits(output_hard_bytes=4 * MIB)) as doors:
        node = doors.cluster.nodes[0]
        service = doors.service(node)
        async with doors.client(node) as client:
            await client.set("k", b"x" * MIB)
        encoded = 0
        async with wire(doors.port(node)) as deaf, wire(doors.port(node)) as other:
            await deaf.ask("PING")
            deaf_one = service.connections[min(service.connections)]
            encode = deaf_one.encode

            def counted(reply: object) -> bytes:
                nonlocal encoded
                encoded += 1
                return encode(reply)

            monkeypatch.setattr(deaf_one, "encode", counted)
            for _ in range(200):
                deaf.send("GET", "k")
            await until(lambda: deaf_one.is_gone)
            assert encoded <= 8  # four, and what fitted into the sockets' own buffers
            assert await other.ask("STRLEN", "k") == MIB
            with pytest.raises(EOFError):
                await _take_all(deaf)


async def _take_all(client: Wire) -> None:
    while True:
        await client.next()


async def test_a_client_that_takes_its_replies_gets_them_all_however_many_they_are() -> None:
    limits = Limits(output_soft_bytes=100_000, output_hard_bytes=4 * MIB)
    async with serving(1, limits=limits) as doors, wire(doors.port(doors.cluster.nodes[0])) as client:
        assert await client.ask("SET", "k", b"x" * MIB) == b"OK"
        assert await client.ask("READONLY") == b"OK"
        for _ in range(30):
            client.send("GET", "k")
        for _ in range(30):
            assert len(await client.next()) == MIB
        assert await client.ask("READWRITE") == b"OK"
        assert await client.ask("MGET", *["k"] * 8) == [b"x" * MIB] * 8  # one reply may be larger than the bound


def test_a_reply_that_names_the_same_again_and_again_is_an_error(db: Keyspace) -> None:
    fits, too_many = REPLY_BYTES_MAX // len(BIG), REPLY_BYTES_MAX // len(BIG) + 1
    error = f"ERR the reply would have more than {REPLY_BYTES_MAX} bytes"
    run(db, "SET", "k", BIG)
    run(db, "HSET", "h", "f", BIG)
    run(db, "HSET", "names", BIG, "v")
    run(db, "SADD", "s", BIG)
    run(db, "ZADD", "z", 1, BIG)
    run(db, "RPUSH", "l", BIG)
    assert run(db, "MGET", *["k"] * fits, "none") == [BIG] * fits + [None]
    assert run(db, "MGET", *["k"] * too_many) == error
    assert run(db, "HMGET", "h", *["f"] * too_many) == error
    assert run(db, "SRANDMEMBER", "s", -fits) == [BIG] * fits
    for words in [
        ("SRANDMEMBER", "s", -too_many),
        ("HRANDFIELD", "names", -too_many),
        ("HRANDFIELD", "h", -too_many, "WITHVALUES"),
        ("ZRANDMEMBER", "z", -too_many),
        ("ZRANDMEMBER", "z", -too_many, "WITHSCORES"),
    ]:
        assert run(db, *words) == error
    sort = ["SORT", "l", "ALPHA", *["GET", "#"] * too_many]
    assert run(db, *sort) == f"ERR SORT gets at most {REPLY_BYTES_MAX} bytes"
    assert run(db, *sort, "STORE", "other") == f"ERR SORT gets at most {REPLY_BYTES_MAX} bytes"


def test_a_transaction_is_carried_out_whole_and_leaves_out_the_replies_that_are_too_many(db: Keyspace) -> None:
    run(db, "SET", "k", BIG)
    fits = REPLY_BYTES_MAX // len(BIG) - 1
    requests = [[b"GET", b"k"]] * (fits + 3) + [[b"INCR", b"n"], [b"GETSET", b"k", b"new"]]
    replies = run(db, *as_request(Transaction([], requests)))
    assert replies[:fits] == [BIG] * fits
    assert [str(reply) for reply in replies[fits : fits + 3]] == [LEFT_OUT] * 3
    assert replies[-2] == 1
    assert isinstance(replies[-1], CommandError)
    assert run(db, "GET", "k") == b"new"


# -- copies ----------------------------------------------------------------------------------------------


def test_no_string_is_longer_than_a_command(db: Keyspace) -> None:
    too_long = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
    assert STRING_BYTES_MAX == 16 * MIB
    assert run(db, "SETRANGE", "k", STRING_BYTES_MAX, "x") == too_long
    assert run(db, "SETRANGE", "k", STRING_BYTES_MAX - 1, "x") == STRING_BYTES_MAX
    assert run(db, "APPEND", "k", "x") == too_long


def test_bitop_combines_so_much_at_most(db: Keyspace) -> None:
    run(db, "SET", "k", BIG)
    too_many = COMBINED_BYTES_MAX // len(BIG) + 1
    assert (
        run(db, "BITOP", "AND", "other", *["k"] * too_many) == f"ERR BITOP combines at most {COMBINED_BYTES_MAX} bytes"
    )


def test_a_transaction_copies_so_much_at_most(db: Keyspace) -> None:
    run(db, "SET", "k", BIG)
    last = b"%d" % (STRING_BYTES_MAX - 1)
    setbit = [b"SETBIT", b"k", b"0", b"1"]
    assert checked_weight(db, Transaction([], [setbit] * 4)) >= 4 * len(BIG)
    enough = COPIED_BYTES_MAX // len(BIG)
    for requests in [
        [setbit] * (enough + 1),
        [[b"QUORATE.FENCED", b"lock", b"1", b"setbit", *setbit[1:]]] * (enough + 1),
        [[b"SETRANGE", b"new", last, b"x"], *[[b"APPEND", b"new", b"x"]] * 10],
        [[b"SET", b"new", BIG], *[[b"APPEND", b"new", b"x"]] * 10],
        [[b"RENAME", b"k", b"new"], *[[b"APPEND", b"new", b"x"]] * 10],
        [[b"APPEND", b"new", b"x" * 1000]] * 1000,
    ]:
        with pytest.raises(CommandError, match="nothing was applied"):
            checked_weight(db, Transaction([], requests))
    assert checked_weight(db, Transaction([], [[b"APPEND", b"log", b"line"]] * 1000)) < COPIED_BYTES_MAX
    assert checked_weight(db, Transaction([], [[b"SET", b"k", b"v"]] * 1000)) == 0


async def test_others_are_served_while_a_client_has_a_long_string_copied_again_and_again() -> None:
    async with serving(1) as doors:
        port = doors.port(doors.cluster.nodes[0])
        async with wire(port) as heavy, wire(port) as other:
            assert await heavy.ask("SETBIT", "bits", 8 * STRING_BYTES_MAX - 1, 1) == 0
            for number in range(60):
                heavy.send("SETBIT", "bits", number, 1)
            answered = 0

            async def count() -> None:
                nonlocal answered
                for _ in range(60):
                    assert await heavy.next() == 0
                    answered += 1

            counting = asyncio.create_task(count())
            await until(lambda: answered > 0)
            assert await other.ask("SET", "k", "v") == b"OK"
            assert answered < 50
            await counting
            heavy.send("MULTI")
            for number in range(60):
                heavy.send("SETBIT", "bits", number, 0)
            heavy.send("EXEC")
            replies = [await heavy.next() for _ in range(62)]
            assert "nothing was applied" in str(replies[-1])


async def test_little_is_read_of_what_waits_for_a_heavy_write_and_all_of_it_later() -> None:
    async with serving(1) as doors, wire(doors.port(doors.cluster.nodes[0])) as client:
        service = doors.service(doors.cluster.nodes[0])
        await client.ask("PING")
        (only,) = service.connections.values()
        most = 0

        async def look() -> None:
            nonlocal most
            while True:
                most = max(most, len(only._requests))
                await asyncio.sleep(0)

        looking = asyncio.create_task(look())
        for _ in range(40):
            client.send("SET", "k", b"x" * MIB)
        for _ in range(40):
            assert await client.next() == b"OK"
        looking.cancel()
        assert 0 < most <= 2


async def test_no_more_is_read_than_can_be_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (gathering, connection):
        monkeypatch.setattr(module, "UNDER_WAY_BYTES_MAX", MIB)
    async with serving(1) as doors, wire(doors.port(doors.cluster.nodes[0])) as client:
        writes, most = doors.service(doors.cluster.nodes[0]).writes, 0

        async def look() -> None:
            nonlocal most
            while True:
                most = max(most, writes.bytes)
                await asyncio.sleep(0)

        looking = asyncio.create_task(look())
        for _ in range(400):
            client.send("SET", "k", b"x" * 100_000)
        for _ in range(400):
            assert await client.next() == b"OK"
        looking.cancel()
        assert MIB < most < 3 * MIB


async def test_reading_goes_on_when_what_was_too_much_has_been_begun() -> None:
    async with serving(1) as doors, wire(doors.port(doors.cluster.nodes[0])) as client:
        for _ in range(3):
            client.send("SET", "k", "v")
            for _ in range(3 * WAITING_MAX):
                client.send("PING")
            assert await client.next() == b"OK"
            assert [await client.next() for _ in range(3 * WAITING_MAX)] == [b"PONG"] * (3 * WAITING_MAX)


# -- memory ----------------------------------------------------------------------------------------------


async def test_writes_that_are_under_way_count_as_memory() -> None:
    async with serving(1, limits=Limits(memory_bytes_max=10 * MIB)) as doors:
        node = doors.cluster.nodes[0]
        async with wire(doors.port(node)) as one, wire(doors.port(node)) as other:
            await one.ask("PING")
            await other.ask("PING")
            writes = doors.service(node).writes
            for number in range(40):
                one.send("SETRANGE", f"k{number}", 200_000, "x")
            for number in range(40):
                other.send("SETRANGE", f"other{number}", 200_000, "x")
            replies = [await one.next() for _ in range(40)] + [await other.next() for _ in range(40)]
            refused = [reply for reply in replies if str(reply).startswith("OOM")]
            assert refused
            assert doors.service(node).keyspace.memory_bytes < 10.5 * MIB
            await until(lambda: writes.bytes == 0)


# -- strangers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"*11\r\n", "ERR Protocol error: unauthenticated multibulk length"),
        (b"*2\r\n$4\r\nAUTH\r\n$16385\r\n", "ERR Protocol error: unauthenticated bulk length"),
        (b"*1000000\r\n", "ERR Protocol error: unauthenticated multibulk length"),
        (b"x" * 20_000, "ERR Protocol error: too big inline request"),
    ],
)
async def test_a_stranger_may_send_little(sent: bytes, error: str) -> None:
    async with serving(1, password="secret") as doors, wire(doors.port(doors.cluster.nodes[0])) as client:
        client._writer.write(sent)
        assert str(await client.next()) == error
        with pytest.raises(EOFError):
            await client.next()


async def test_a_stranger_is_told_nothing_of_its_arguments() -> None:
    async with serving(1, password="secret") as doors, wire(doors.port(doors.cluster.nodes[0])) as client:
        for words in [("GET",), ("SET", "k", "v", "NONSENSE"), ("BLPOP", "k", "x"), ("PUBSUB", "NONSENSE"), ("ECHO",)]:
            assert str(await client.ask(*words)).startswith("NOAUTH"), words


async def test_what_comes_right_behind_the_password_may_be_large() -> None:
    async with serving(1, password="secret") as doors, wire(doors.port(doors.cluster.nodes[0])) as client:
        client.send("AUTH", "wrong")
        client.send("HELLO", 2, "AUTH", "default", "secret")
        client.send("SET", "k", b"x" * 100_000)
        client.send("MGET", *["k"] * 20)
        assert str(await client.next()).startswith("WRONGPASS")
        assert await client.next()
        assert await client.next() == b"OK"
        assert await client.next() == [b"x" * 100_000] * 20
        assert await client.ask("MGET", *["k"] * 20) == [b"x" * 100_000] * 20


async def test_who_resets_its_connection_is_a_stranger_again() -> None:
    async with serving(1, password="secret") as doors:
        port = doors.port(doors.cluster.nodes[0])
        for sent in (b"*11\r\n", b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$16385\r\n"):
            async with wire(port) as client:
                assert await client.ask("AUTH", "secret") == b"OK"
                assert await client.ask("SET", "k", b"x" * 100_000) == b"OK"
                assert await client.ask("RESET") == b"RESET"
                assert str(await client.ask("GET", "k")).startswith("NOAUTH")
                client._writer.write(sent)
                assert str(await client.next()).startswith("ERR Protocol error: unauthenticated")
                with pytest.raises(EOFError):
                    await client.next()


async def test_what_of_a_request_came_with_the_reset_is_not_lost() -> None:
    async with serving(1, password="secret") as doors, wire(doors.port(doors.cluster.nodes[0])) as client:
        for begun, rest in [
            (b"*2\r\n$4\r\nAU", b"TH\r\n$6\r\nsecret\r\n"),
            (b"*2\r\n$4\r\nAUTH\r\n", b"$6\r\nsecret\r\n"),
            (b"*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r", b"\n"),
            (b"", b"AUTH secret\r\n"),
        ]:
            assert await client.ask("AUTH", "secret") == b"OK"
            client._writer.write(b"*1\r\n$5\r\nRESET\r\n" + begun)
            assert await client.next() == b"RESET"
            client._writer.write(rest)
            assert await client.next() == b"OK"
            assert await client.ask("SET", "k", b"x" * 100_000) == b"OK"


async def test_who_says_the_password_behind_a_reset_is_no_stranger_meanwhile() -> None:
    async with serving(1, password="secret") as doors, wire(doors.port(doors.cluster.nodes[0])) as client:
        assert await client.ask("AUTH", "secret") == b"OK"
        client.send("SET", "k", "v")
        client.send("RESET")
        client.send("AUTH", "secret")
        client.send("SET", "k", b"x" * 1_000_000)
        client.send("MGET", *["k"] * 20)
        assert [await client.next() for _ in range(4)] == [b"OK", b"RESET", b"OK", b"OK"]
        assert await client.next() == [b"x" * 1_000_000] * 20


async def test_a_stranger_whose_password_had_to_wait_is_read_as_one_who_said_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving(1, password="secret") as doors, wire(doors.port(doors.cluster.nodes[0])) as client:
        monkeypatch.setattr(connection, "SLICE_SECONDS", -1.0)  # after each request others come first
        client.send("ECHO", "x")
        client.send("AUTH", "secret")
        client._writer.write(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$")
        assert str(await client.next()).startswith("NOAUTH")
        assert await client.next() == b"OK"
        client._writer.write(b"100000\r\n" + b"x" * 100_000 + b"\r\n")
        assert await client.next() == b"OK"


# -- the event loop --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["READWRITE", "READONLY"])
async def test_others_are_answered_while_one_reads_a_lot(mode: str) -> None:
    reads = 2000
    async with serving(1) as doors:
        port = doors.port(doors.cluster.nodes[0])
        async with wire(port) as heavy, wire(port) as other:
            for first in range(0, 20_000, 1000):
                await heavy.ask("RPUSH", "list", *range(first, first + 1000))
            assert await heavy.ask(mode) == b"OK"
            heavy.send("RPUSH", "list", "last")
            for number in range(reads):
                heavy.send("LRANGE", "list", 10 * number, 19_999) if number % 100 == 0 else heavy.send(
                    "LPOS", "list", "last"
                )
            heavy.send("LRANGE", "list", -1, -1)
            answered = 0

            async def read() -> None:
                nonlocal answered
                assert await heavy.next() == 20_001
                for number in range(reads):
                    expected = list(range(10 * number, 20_000)) if number % 100 == 0 else 20_000
                    reply = await heavy.next()
                    assert (list(map(int, reply)) if isinstance(reply, list) else reply) == expected
                    answered += 1
                assert await heavy.next() == [b"last"]

            reading = asyncio.create_task(read())
            await until(lambda: answered > 0)
            assert await other.ask("PING") == b"PONG"
            assert await other.ask("GET", "none") is None
            assert answered < reads / 4
            await reading


async def test_commands_on_a_connection_leave_room_for_others_as_well() -> None:
    async with serving(1) as doors:
        port = doors.port(doors.cluster.nodes[0])
        async with wire(port) as heavy, wire(port) as other:
            answered = 0

            async def read() -> None:
                nonlocal answered
                for _ in range(3000):
                    assert await heavy.next() > 100
                    answered += 1

            for _ in range(3000):
                heavy.send("COMMAND", "COUNT")
            reading = asyncio.create_task(read())
            await until(lambda: answered > 0)
            assert await other.ask("PING") == b"PONG"
            assert answered < 2000
            await reading


# -- the rest --------------------------------------------------------------------------------------------


async def test_what_is_behind_quit_is_not_carried_out() -> None:
    async with serving(1) as doors:
        node = doors.cluster.nodes[0]
        async with wire(doors.port(node)) as client:
            client.send("SET", "before", "v")
            client.send("QUIT")
            client.send("SET", "behind", "v")
            assert [await client.next(), await client.next()] == [b"OK", b"OK"]
            with pytest.raises(EOFError):
                await client.next()
        async with wire(doors.port(node)) as client:
            assert await client.ask("EXISTS", "before", "behind") == 1


async def test_a_node_that_is_no_member_yet_does_not_say_that_there_is_nothing() -> None:
    async with serving(1) as doors:
        leader = await doors.cluster.wait_for_leader()
        async with wire(doors.port(leader)) as client:
            assert await client.ask("SET", "k", "v") == b"OK"
        joining = await doors.cluster.join()
        async with wire(await doors.open(joining)) as client:
            assert await client.ask("READONLY") == b"OK"
            for words in [("GET", "k"), ("SUBSCRIBE", "news"), ("QUORATE.WATCH", "KEY", "k", "FROM", 1)]:
                assert str(await client.ask(*words)).startswith("CLUSTERDOWN this node is no member"), words
            await leader.members.add(joining.node_id, joining.config.address)
            await until(lambda: joining.status.applied_index >= leader.status.applied_index)
            assert await client.ask("GET", "k") == b"v"
