"""The key-value benchmark measures every case on whatever is installed, and fails when a request does."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from quorate.errors import ConfigError
from quorate.ops.bench import kv_report, servers, wire
from quorate.ops.bench.cases import CASES, VALUE, Case, Sample
from quorate.ops.bench.drivers import h2load, parse_h2load, put_message, redis_benchmark
from quorate.ops.bench.etcd import EtcdSystem
from quorate.ops.bench.kv import PORTS, KvReport, Plan, Rival, run_kv
from quorate.ops.bench.load import LoadFailed, RateNotKept
from quorate.ops.bench.repeats import REPEATS_MAX, Repeats
from quorate.ops.bench.servers import Server, missing_packages, path_of
from quorate.ops.bench.systems import QuorateSystem, RedisSystem, System, wait_serving
from quorate.ops.local_node import HOST
from quorate.ops.ports import check_port_free, free_ports

SET, GET = Case(command="set", clients=4), Case(command="get", clients=4)
OPERATIONS = 300
H2LOAD_PRINTED = """finished in 500.00ms, 8.00 req/s, 1.00KB/s
requests: 4 total, 4 started, 4 done, 4 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 4 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 1.00KB (1024) total, 100B (100) headers (space savings 94.74%), 400B (400) data
"""
LATENCIES = [0.001, 0.002, 0.003, 0.004]


def need(program: str) -> None:
    """Skip the test where ``program`` is not installed."""
    if shutil.which(program) is None:
        pytest.skip(f"there is no {program} here (on Debian and Ubuntu: apt install {missing_packages([program])[0]})")


@asynccontextmanager
async def answering(reply: bytes) -> AsyncIterator[int]:
    """The port of a server that says ``reply`` to whatever it is sent."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(1 << 16):
                writer.write(reply)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, HOST, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.mark.e2e
async def test_every_case_is_measured_on_every_system_and_nothing_stays_behind(tmp_path: Path) -> None:
    need("redis-benchmark")
    ports, told = free_ports(PORTS), list[str]()
    plan = Plan(seconds=0.1, operations_max=OPERATIONS, rounds=2, keys=1000)
    report = await run_kv(tmp_path, ports, plan, told.append)
    kinds: tuple[type[System], ...] = (QuorateSystem, EtcdSystem, RedisSystem)
    installed = [kind for kind in kinds if not missing_packages(kind.programs)]
    expected = [
        (case.name, kind.name) for case in CASES for kind in installed if case.at == "leader" or kind is not RedisSystem
    ]
    assert [(item.case, item.system) for item in report.measurements] == expected
    for item in report.measurements:
        assert item.operations > 0
        assert len(item.per_second_rounds) == 2
        assert item.per_second == min(item.per_second_rounds) > 0
        assert 0 < item.p50_ms <= item.p95_ms <= item.p99_ms
        assert (item.cpu_us_per_operation is not None) == (sys.platform == "linux")
        assert (item.to_rival is not None) == (EtcdSystem in installed)
        if item.system != RedisSystem.name:
            assert item.fsyncs_per_operation is not None
            assert (item.fsyncs_per_operation > 0) == item.case.startswith("SET")
    assert (report.converged.objects, report.converged.digest is not None) == (1000, True)
    check_pages(report)
    assert os.listdir(tmp_path) == []
    for port in ports:
        check_port_free(HOST, port)


def check_pages(report: KvReport) -> None:
    """All three forms of the report have every row."""
    assert json.loads(kv_report.as_json(report))["measurements"][0]["system"] == "Quorate"
    assert kv_report.as_table(report).row_count == len(report.measurements)
    assert kv_report.as_markdown(report).count("\n|") == len(report.measurements) + 2


async def test_what_fails_is_done_once_more_but_not_for_ever() -> None:
    told: list[str] = []
    repeats, failures = Repeats(told.append), [LoadFailed("no leader"), TimeoutError()]

    async def work() -> str:
        if failures:
            raise failures.pop(0)
        return "done"

    assert await repeats.run("a round", work) == "done"
    assert repeats.told == ["a round: no leader", "a round: no answer in time"]
    assert len(told) == 2
    failures += [LoadFailed("again")] * REPEATS_MAX
    with pytest.raises(LoadFailed, match="another: again"):
        await repeats.run("another", work)
    assert len(repeats.told) == REPEATS_MAX


async def test_a_rate_that_is_too_high_is_not_tried_again() -> None:
    async def work() -> None:
        raise RateNotKept("too many")

    repeats = Repeats(pytest.fail)
    with pytest.raises(RateNotKept):
        await repeats.run("a load", work)


async def test_a_system_is_quiet_once_it_uses_little_of_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([1.0, 1.1, 1.2, 1.201, 9.9])
    monkeypatch.setattr(servers, "cpu_seconds", lambda pids: next(readings))
    monkeypatch.setattr(servers, "QUIET_POLL_SECONDS", 0.02)
    await servers.wait_quiet([1])
    assert next(readings) == 9.9


async def test_without_its_load_generator_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    plan = Plan(seconds=0.1, operations_max=1, rounds=1, keys=1)
    with pytest.raises(ConfigError, match=r"no redis-benchmark here: .*apt install redis-tools"):
        await run_kv(tmp_path, free_ports(PORTS), plan, pytest.fail)


async def test_a_rival_that_is_not_installed_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "redis-benchmark").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    plan = Plan(seconds=0.1, operations_max=1, rounds=1, keys=1, rival=Rival.ETCD)
    with pytest.raises(ConfigError, match=r"no etcd here: .*apt install etcd-server"):
        await run_kv(tmp_path, free_ports(PORTS), plan, pytest.fail)


async def test_an_error_in_reply_fails_the_round() -> None:
    need("redis-benchmark")
    async with answering(b"-ERR no\r\n") as port:
        with pytest.raises(LoadFailed, match=r"redis-benchmark ended with exit code 1: .*ERR no"):
            await redis_benchmark(port, SET, 100, keys=10, seconds_max=20)


async def test_a_node_that_does_not_show_its_keys_fails_the_run() -> None:
    async with answering(b"-ERR no\r\n") as port:
        with pytest.raises(LoadFailed, match="a server answered READONLY with 'ERR no'"):
            await wire.keys_of(port)


async def test_a_server_that_does_not_answer_fails_the_round() -> None:
    need("redis-benchmark")
    async with answering(b"") as port:
        with pytest.raises(LoadFailed, match="not done within"):
            await redis_benchmark(port, GET, 100, keys=10, seconds_max=0.5)


async def test_an_etcd_that_is_not_there_fails_the_round() -> None:
    need("h2load")
    with pytest.raises(LoadFailed, match="h2load"):
        await h2load(free_ports(1)[0], SET, 8, seconds_max=20)


async def test_reads_that_find_nothing_fail_the_round(tmp_path: Path) -> None:
    for program in EtcdSystem.programs:
        need(program)
    async with EtcdSystem(tmp_path, free_ports(6), keys=0) as etcd:
        await etcd.start()
        with pytest.raises(LoadFailed, match="etcd answered 8 reads with"):
            await etcd.drive(GET, 8, 20)
        assert (await etcd.drive(SET, 8, 20)).operations == 8
        assert (await etcd.drive(GET, 8, 20)).operations == 8


def test_what_h2load_prints() -> None:
    expected = Sample(operations=4, per_second=8.0, p50_ms=2.0, p95_ms=4.0, p99_ms=4.0)
    assert parse_h2load(H2LOAD_PRINTED, LATENCIES, 4) == (expected, 400)


@pytest.mark.parametrize(
    ("found", "instead"),
    [
        ("4 succeeded, 0 failed", "3 succeeded, 1 failed"),
        ("4 succeeded", "3 succeeded"),
        ("finished in", "gave up in"),
    ],
)
def test_what_h2load_prints_when_something_failed(found: str, instead: str) -> None:
    with pytest.raises(LoadFailed):
        parse_h2load(H2LOAD_PRINTED.replace(found, instead), LATENCIES, 4)


def test_a_put_as_protobuf_has_it() -> None:
    assert put_message() == b"\x0a\x10key:000000000000\x12\x20" + VALUE


async def never() -> bool:
    """A server that does not serve yet."""
    return False


async def test_a_server_that_ends_is_noticed_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "etcd"
    program.write_text("#!/bin/sh\necho first\necho no room\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert path_of("etcd") == str(program)
    server = Server(tmp_path / "data", "etcd", [])
    try:
        with pytest.raises(LoadFailed, match="etcd ended with exit code 3: no room"):
            await wait_serving([server], never)
    finally:
        server.kill()
