"""The load generators of the key-value benchmark: others' programs, so that nobody has to take our word for it.

``redis-benchmark`` for what speaks the Redis protocol; ``h2load`` for etcd's gRPC, which is HTTP/2 with a message in
each body. Both are closed loops written in C, cost the machine little, and fail a round in which a request failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from quorate.ops.bench.cases import VALUE, Case, Sample
from quorate.ops.bench.load import LoadFailed
from quorate.ops.bench.servers import path_of
from quorate.ops.bench.timings import Timings
from quorate.ops.local_node import HOST

ETCD_KEY = b"key:%012d" % 0
ETCD_CONNECTIONS = 4
"""Over so many connections the requests under way are spread: etcd does the most with few."""
H2_SECONDS = re.compile(r"finished in ([\d.]+)(us|ms|s),")
H2_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
H2_SUCCEEDED = re.compile(r"(\d+) succeeded, 0 failed, 0 errored, 0 timeout")
H2_DATA = re.compile(r"traffic: .*\((\d+)\) data")


async def redis_benchmark(port: int, case: Case, operations: int, *, keys: int, seconds_max: float) -> Sample:
    """One round on random ones of ``keys`` keys. Raises :class:`LoadFailed`."""
    printed = await _run(
        [
            *("redis-benchmark", "-h", HOST, "-p", str(port), "-t", case.command, "-d", str(len(VALUE))),
            *("-r", str(keys), "-c", str(case.clients), "-P", str(case.pipeline), "-n", str(operations), "--csv"),
        ],
        seconds_max,
    )
    return parse_redis_benchmark(printed, operations)


def parse_redis_benchmark(printed: str, operations: int) -> Sample:
    """What ``--csv`` made of a single test. Raises :class:`LoadFailed`."""
    rows = list(csv.DictReader(printed.splitlines()))
    if len(rows) != 1:
        raise LoadFailed(f"redis-benchmark printed no result: {printed!r}")
    return Sample(
        operations=operations,
        per_second=float(rows[0]["rps"]),
        p50_ms=float(rows[0]["p50_latency_ms"]),
        p95_ms=float(rows[0]["p95_latency_ms"]),
        p99_ms=float(rows[0]["p99_latency_ms"]),
    )


async def h2load(port: int, case: Case, operations: int, *, seconds_max: float) -> Sample:
    """One round of unary gRPC calls to etcd's ``KV`` service, all for one key. Raises :class:`LoadFailed`.

    A call that failed has the HTTP status 200, too, but no body. As long as nothing is written all reads are answered
    with the same bytes, so it shows in their sum; that writes had their effect is for others to see.
    """
    sample, answers_bytes = await _h2load(port, case, operations, seconds_max)
    if case.command == "get":
        one = Case(command="get", clients=1)
        _, answer_bytes = await _h2load(port, one, 1, seconds_max)
        if answer_bytes < len(ETCD_KEY + VALUE) or answers_bytes != operations * answer_bytes:
            raise LoadFailed(f"etcd answered {operations} reads with {answers_bytes} bytes, one with {answer_bytes}")
    return sample


async def _h2load(port: int, case: Case, operations: int, seconds_max: float) -> tuple[Sample, int]:
    """A round, and how many bytes the answers' bodies had together."""
    method, message = ("Put", put_message()) if case.command == "set" else ("Range", range_message())
    connections = min(ETCD_CONNECTIONS, case.in_flight)
    with tempfile.TemporaryDirectory(prefix="quorate-h2load-") as folder:
        body, log = Path(folder) / "body", Path(folder) / "log"
        body.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)  # gRPC's frame: not compressed, length
        printed = await _run(
            [
                *("h2load", "-n", str(operations), "-c", str(connections), "-m", str(case.in_flight // connections)),
                *("-d", str(body), "-H", "content-type: application/grpc", "-H", "te: trailers"),
                *("--log-file", str(log), f"http://{HOST}:{port}/etcdserverpb.KV/{method}"),
            ],
            seconds_max,
        )
        latencies = [int(line.split(b"\t")[2]) / 1e6 for line in log.read_bytes().splitlines()]
    return parse_h2load(printed, latencies, operations)


def parse_h2load(printed: str, latencies: Sequence[float], operations: int) -> tuple[Sample, int]:
    """What it prints at the end, with each request's latency in seconds; the bytes of all answers' bodies.

    Raises :class:`LoadFailed`.
    """
    took, succeeded, data = H2_SECONDS.search(printed), H2_SUCCEEDED.search(printed), H2_DATA.search(printed)
    if not took or not data or not succeeded or not int(succeeded[1]) == len(latencies) == operations:
        raise LoadFailed(f"h2load did not get every answer: {printed!r}")
    timings = Timings(float(took[1]) * H2_UNITS[took[2]], list(latencies))
    p50_ms, p95_ms, p99_ms = timings.percentiles_ms(50, 95, 99)
    per_second = round(timings.per_second, 1)
    sample = Sample(operations=operations, per_second=per_second, p50_ms=p50_ms, p95_ms=p95_ms, p99_ms=p99_ms)
    return sample, int(data[1])


def put_message() -> bytes:
    """etcd's ``PutRequest``: key is field 1, value field 2."""
    return _field(1, ETCD_KEY) + _field(2, VALUE)


def range_message() -> bytes:
    """etcd's ``RangeRequest`` for one key, linearizable as it is by default."""
    return _field(1, ETCD_KEY)


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field of a protobuf message; short enough for lengths of one byte."""
    assert len(content) < 128
    return bytes((number << 3 | 2, len(content))) + content


async def _run(command: Sequence[str], seconds_max: float) -> str:
    """What the program prints on standard output. Raises :class:`LoadFailed`; never leaves the process behind."""
    program, *arguments = command
    process = await asyncio.create_subprocess_exec(
        path_of(program),
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # a Ctrl-C in the terminal is for us
    )
    try:
        async with asyncio.timeout(seconds_max):
            out, err = await process.communicate()
    except TimeoutError:
        raise LoadFailed(f"{program} was not done within {seconds_max:g} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode:
        told = (err or out).decode(errors="replace").strip().splitlines()
        raise LoadFailed(f"{program} ended with exit code {process.returncode}: {told[-1] if told else ''}")
    return out.decode()
