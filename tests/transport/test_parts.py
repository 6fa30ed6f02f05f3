"""The small parts: faults, delays, what is news, addresses."""

from __future__ import annotations

import asyncio
import random
import socket

import pytest

from quorate.errors import ConfigError
from quorate.testing.transport_suite import until
from quorate.transport import Direction, LinkFaults
from quorate.transport.delay_line import DelayLine
from quorate.transport.news import REPEAT_SECONDS, News
from quorate.transport.sockets import describe, split_address


class TestLinkFaults:
    def test_without_faults_everything_passes_at_once(self) -> None:
        faults = LinkFaults(random.Random(1))
        assert faults.quiet
        assert faults.judge(1, Direction.OUTGOING) == 0.0

    def test_a_cut_is_for_its_peer_and_direction(self) -> None:
        faults = LinkFaults(random.Random(1))
        faults.cut(1, Direction.OUTGOING)
        assert faults.judge(1, Direction.OUTGOING) is None
        assert faults.judge(1, Direction.INCOMING) == 0.0
        assert faults.judge(2, Direction.OUTGOING) == 0.0

    def test_no_peer_means_every_peer_and_delays_add_up(self) -> None:
        faults = LinkFaults(random.Random(1))
        faults.delay(None, 1.0)
        faults.delay(2, 0.5, Direction.INCOMING)
        assert faults.judge(1, Direction.INCOMING) == 1.0
        assert faults.judge(2, Direction.INCOMING) == 1.5
        assert faults.judge(2, Direction.OUTGOING) == 1.0

    def test_healing_one_peer_leaves_the_others(self) -> None:
        faults = LinkFaults(random.Random(1))
        faults.cut(1)
        faults.cut(2)
        faults.heal(1)
        assert faults.judge(1, Direction.OUTGOING) == 0.0
        assert faults.judge(2, Direction.OUTGOING) is None
        faults.heal()
        assert faults.quiet

    def test_the_same_seed_drops_the_same_messages_and_counts_them(self) -> None:
        def fates(seed: int) -> list[float | None]:
            faults = LinkFaults(random.Random(seed))
            faults.drop(1, 0.3)
            result = [faults.judge(1, Direction.OUTGOING) for _ in range(100)]
            assert faults.fired["drop"] == result.count(None)
            return result

        assert fates(1) == fates(1) != fates(2)
        assert 10 < fates(1).count(None) < 60


class TestDelayLine:
    async def test_order_is_kept_whatever_the_delays(self) -> None:
        line, ran = DelayLine(), list[int]()
        for n, seconds in enumerate([0.02, 0.0, 0.01, 0.0]):
            assert line.put(seconds, lambda n=n: ran.append(n))  # type: ignore[misc]
        assert ran == []
        await until(lambda: len(ran) == 4)
        assert ran == [0, 1, 2, 3]

    async def test_a_full_line_takes_no_more(self) -> None:
        line = DelayLine(items_max=2)
        assert [line.put(1.0, lambda: None) for _ in range(3)] == [True, True, False]
        line.clear()
        assert len(line) == 0

    async def test_a_few_at_a_time_leave_others_their_turns(self) -> None:
        slow, quick, ran = DelayLine(items_per_turn=1), DelayLine(), list[str]()
        for n in range(3):
            slow.put(0.0, lambda n=n: ran.append(f"slow {n}"))  # type: ignore[misc]
        for n in range(2):
            quick.put(0.0, lambda n=n: ran.append(f"quick {n}"))  # type: ignore[misc]
        await until(lambda: len(ran) == 5)
        assert ran == ["slow 0", "quick 0", "quick 1", "slow 1", "slow 2"]

    async def test_it_may_be_cleared_and_used_from_a_callback(self) -> None:
        line, ran = DelayLine(), list[str]()

        def restart() -> None:
            line.clear()
            line.put(0.0, lambda: ran.append("after"))

        line.put(0.0, restart)
        line.put(0.0, lambda: ran.append("cleared"))
        await until(lambda: ran)
        assert ran == ["after"]

    async def test_a_callback_that_fails_does_not_stop_the_line(self) -> None:
        line, ran, failures = DelayLine(), list[int](), list[object]()
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: failures.append(context))
        line.put(0.0, lambda: 1 // 0)  # type: ignore[arg-type]
        line.put(0.0, lambda: ran.append(1))
        await until(lambda: ran)
        assert len(failures) == 1


def test_news_is_said_once_a_minute_and_the_memory_is_bounded() -> None:
    news = News()
    assert [news.is_news("a", now) for now in (0.0, 1.0, REPEAT_SECONDS - 1, REPEAT_SECONDS)] == [
        True,
        False,
        False,
        True,
    ]
    assert news.is_news("b", REPEAT_SECONDS)
    for n in range(10_000):
        assert news.is_news(n, 0.0)
    assert len(news._said) <= 256


@pytest.mark.parametrize(
    ("address", "parts"),
    [("127.0.0.1:8080", ("127.0.0.1", 8080)), ("[::1]:1", ("::1", 1)), ("db.example:65535", ("db.example", 65535))],
)
def test_addresses(address: str, parts: tuple[str, int]) -> None:
    assert split_address(address) == parts


@pytest.mark.parametrize("address", ["", "8080", ":8080", "host", "host:", "host:0", "host:65536", "host:x", "host:²"])
def test_what_is_no_address_is_a_config_error(address: str) -> None:
    with pytest.raises(ConfigError, match="is not an address"):
        split_address(address)


def test_reasons_do_not_depend_on_the_event_loop() -> None:
    assert describe(ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 1)")) == "Connection refused"
    assert describe(TimeoutError()) == "no answer in time"
    assert describe(socket.gaierror(-2, "Name or service not known")).endswith("Name or service not known")
    assert describe(ConnectionResetError("closed by the peer")) == "closed by the peer"
    assert describe(ValueError()) == "ValueError"
