"""What the commands tell of themselves: ``COMMAND``, and ``HELP`` of those that have subcommands."""

from __future__ import annotations

import pytest

from quorate.kv.commands.inspection import MEMORY_HELP, OBJECT_HELP
from quorate.kv.reference import reference
from quorate.kv.server.catalog import catalog
from quorate.kv.server.client_commands import CLIENT_HELP, CONFIG_HELP
from quorate.kv.server.introspection_commands import HELP as COMMAND_HELP
from quorate.kv.server.pubsub_commands import PUBSUB_HELP
from quorate.kv.server.service import Limits

from .clients import serving
from .wire import wire

EXAMPLES = {
    "CLIENT": (
        CLIENT_HELP,
        {
            "GETNAME": None,
            "ID": 2,
            "INFO": "id=2 ",
            "KILL 127.0.0.1:1": "ERR No such client",
            "KILL ID 77 SKIPME NO": 0,
            "LIST": "id=",
            "NO-EVICT ON": b"OK",
            "NO-TOUCH OFF": b"OK",
            "SETINFO lib-name x": b"OK",
            "SETNAME x": b"OK",
            "UNBLOCK 77 ERROR": 0,
        },
    ),
    "COMMAND": (
        COMMAND_HELP,
        {"": [], "COUNT": len(catalog()), "DOCS": [], "INFO": [], "LIST": []},
    ),
    "CONFIG": (CONFIG_HELP, {"GET save": [b"save", b""], "SET notify-keyspace-events K": b"OK"}),
    "MEMORY": (MEMORY_HELP, {"USAGE none SAMPLES 0": None}),
    "OBJECT": (
        OBJECT_HELP,
        {"ENCODING list": b"quicklist", "FREQ list": "ERR An LFU", "IDLETIME list": 0, "REFCOUNT list": 1},
    ),
    "PUBSUB": (PUBSUB_HELP, {"CHANNELS": [], "NUMPAT": 0, "NUMSUB": []}),
}
"""Each subcommand as somebody may send it, in the order of the help, and the reply, or how it begins."""


@pytest.mark.parametrize("name", EXAMPLES)
async def test_help_names_what_there_is(name: str) -> None:
    told, examples = EXAMPLES[name]
    async with serving(1) as doors:
        port = doors.port(doors.cluster.nodes[0])
        async with wire(port) as first, wire(port) as second:
            assert await first.ask("RPUSH", "list", "x") == 1
            lines = [line.decode() for line in await second.ask(name, "help")]
            assert lines[0].startswith(f"{name} <subcommand>")
            assert lines[1::2] == [*told, "HELP"]
            assert all(line.startswith("    ") and line.endswith(".") for line in lines[2::2])
            assert [usage.split()[0] for usage in told] == [words.split()[0] if words else "(no" for words in examples]
            for words, expected in examples.items():
                reply = await second.ask(name, *words.split())
                if isinstance(expected, str):
                    assert (reply.decode() if isinstance(reply, bytes) else str(reply)).startswith(expected), words
                elif expected != [] or not isinstance(reply, list):
                    assert reply == expected, words
            assert f"Try {name} HELP." in str(await second.ask(name, "NONSENSE")) or name == "CONFIG"


async def test_all_commands_that_clients_may_send_are_listed() -> None:
    async with serving(1) as doors:
        node = doors.cluster.nodes[0]
        async with doors.client(node) as client:
            listed = await client.command()
            assert await client.command_count() == len(listed)
            names = {name.decode() for name in await client.command_list()}
            assert names == set(listed)
            assert await client.execute_command("COMMAND INFO", "nope", "quorate.exec") == [None, None]
            documented = await client.execute_command("COMMAND DOCS", "hello", "get", "nope")
            assert documented[0::2] == [b"hello", b"get"]
    assert {f"`{name.upper()}`" for name in names} == {
        word for line in reference().splitlines() for word in line.replace("[", " ").replace("]", " ").split()[1:2]
        if line.startswith("| ") and "`" in word
    }  # fmt: skip
    flags = {name: set(each["flags"]) for name, each in listed.items()}
    assert (listed["auth"]["arity"], flags["auth"]) == (-2, {"no_auth"})
    assert (listed["wait"]["arity"], flags["wait"]) == (3, set())
    assert flags["subscribe"] == {"pubsub"}
    assert flags["config"] == {"admin"}
    assert flags["set"] == {"write", "denyoom"}
    assert flags["blpop"] == {"write", "blocking"}
    assert flags["zunion"] == {"readonly", "movablekeys"}
    watch = listed["watch"]
    assert (watch["first_key_pos"], watch["last_key_pos"], watch["step_count"]) == (1, -1, 1)
    assert (listed["multi"]["first_key_pos"], listed["multi"]["step_count"]) == (0, 0)


async def test_what_is_listed_as_for_strangers_answers_them_and_the_rest_does_not() -> None:
    async with serving(1, password="secret") as doors:
        port = doors.port(doors.cluster.nodes[0])
        for name, command in catalog().items():
            async with wire(port) as client:
                reply = str(await client.ask(name, *["x"] * (abs(command.arity) - 1)))
                assert ("no_auth" in command.flags) is not reply.startswith("NOAUTH Authentication"), name


async def test_what_is_not_listed_as_refused_without_memory_is_carried_out() -> None:
    async with (
        serving(1, limits=Limits(memory_bytes_max=1)) as doors,
        wire(doors.port(doors.cluster.nodes[0])) as client,
    ):
        assert await client.ask("SET", "k", "v") == b"OK"
        for words, is_refused in [
            (("SET", "k", "v"), True),
            (("QUORATE.LEASE", "GRANT", "l", 1000), True),
            (("QUORATE.LEASE", "REVOKE", "l"), False),
            (("QUORATE.FENCED", "lock", 1, "SET", "k", "v"), True),
            (("QUORATE.FENCED", "lock", 1, "DEL", "k"), False),
            (("GET", "k"), False),
            (("LPOP", "list"), False),
            (("BLPOP", "k", 1), False),
        ]:
            assert str(await client.ask(*words)).startswith("OOM") is is_refused, words
