"""``quorate bench``: measure a cluster of real processes on this machine."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, TypeVar

import typer
import uvloop
from rich.console import Console
from rich.table import Table

from quorate.cli.output import wide_console
from quorate.errors import ConfigError
from quorate.ops.bench import crud_report, idle_report, kv_report, suites, tasks_report, workload_report
from quorate.ops.bench.crud import Declared, Plan, run_crud
from quorate.ops.bench.idle import Plan as IdlePlan
from quorate.ops.bench.idle import run_idle
from quorate.ops.bench.kv import PORTS, Rival, run_kv
from quorate.ops.bench.kv import Plan as KvPlan
from quorate.ops.bench.load import LoadFailed
from quorate.ops.bench.mixes import LightReads, Mode, mix
from quorate.ops.bench.suites import Suite
from quorate.ops.bench.tasks import Plan as TasksPlan
from quorate.ops.bench.tasks import run_tasks
from quorate.ops.bench.workload import Limits, Place, Workload, run_workloads
from quorate.ops.interrupts import Interrupted, run_interruptible
from quorate.ops.ports import free_ports
from quorate.ops.shop import data_directory
from quorate.storage.settings import StorageProfile

NODES = 3
CONNECTIONS_MAX = 1024
PRESEED_MAX = 1_000_000
COLUMNS_MAX = 1000
FOR_LOADS = (500, 0, StorageProfile.DURABLE, NODES, None)
"""The defaults of what ``crud`` takes for loads of one's own choice."""
FOR_MIXTURES = ({"create": 25, "read": 50, "update": 20, "delete": 5}, None)
"""And of what only one of them takes."""
FOR_ALL_CASES = (3, None)
"""And of what it takes without them."""
PATHS = {Declared.PLAIN: "/api/plain-products", Declared.BOTH: "/api/plain-products", Declared.FULL: "/api/products"}

DataDir = Annotated[
    Path | None,
    typer.Option(help="On which disk to measure.", show_default="a temporary directory, removed at the end"),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on the last line.")]
Markdown = Annotated[Path | None, typer.Option(help="Also write the table to this file.")]

Seconds = Annotated[float, typer.Option(min=0.1, max=120, help="How long each case runs.")]
Operations = Annotated[int, typer.Option(min=1, max=1_000_000, help="Requests that end a case early.")]
Nodes = Annotated[int, typer.Option(min=1, max=7, help="How many nodes; 1: no replication.")]
Profile = Annotated[StorageProfile, typer.Option(help="What an acknowledged write is worth (docs/storage.md).")]
Preseed = Annotated[int, typer.Option(min=0, max=PRESEED_MAX, help="So many objects are there beforehand.")]
Rate = Annotated[
    float | None,
    typer.Option(min=1, max=1_000_000, help="Requests per second that fall due by the clock (an open loop).",
                 show_default="as fast as answers come"),
]  # fmt: skip

Report = TypeVar("Report")
Measure = Callable[[Path, Callable[[str], None]], Coroutine[Any, Any, Report]]

bench = typer.Typer(no_args_is_help=True, help="Measure a cluster of real processes on this machine.")


@bench.callback()
def _group() -> None:
    pass


@bench.command()
def crud(
    seconds: Seconds = 5.0,
    operations: Operations = 200_000,
    connections: Annotated[str, typer.Option(help="At how many connections creates are measured.")] = "1,64,256",
    failovers: Annotated[int, typer.Option(min=0, max=20, help="How often the leader is killed.")] = 3,
    model: Annotated[
        Declared, typer.Option(help="Create objects with all that a model may declare, without it, or both in turn.")
    ] = Declared.BOTH,
    port: Annotated[
        int | None, typer.Option(min=1, max=65533, help="The first of three ports in a row.", show_default="free ones")
    ] = None,
    mode: Annotated[
        Mode | None, typer.Option(help="Instead: one load, at each of --connections.", show_default="all cases")
    ] = None,
    suite: Annotated[Suite | None, typer.Option(help="Instead: these loads.", show_default="all cases")] = None,
    bulk_size: Annotated[int, typer.Option(min=1, max=1000, help="Objects in a request that creates many.")] = 500,
    create: Annotated[int, typer.Option(min=0, max=100, help="--mode random: how many percent are creates.")] = 25,
    read: Annotated[int, typer.Option(min=0, max=100, help="... reads.")] = 50,
    update: Annotated[int, typer.Option(min=0, max=100, help="... updates.")] = 20,
    delete: Annotated[int, typer.Option(min=0, max=100, help="... deletes.")] = 5,
    light_reads: Annotated[
        LightReads | None,
        typer.Option(
            help="What a read asks for: the whole list (0), the status, or a count.", show_default="one object"
        ),
    ] = None,
    preseed: Preseed = 0,
    storage_profile: Profile = StorageProfile.DURABLE,
    nodes: Nodes = NODES,
    rate: Rate = None,
    data_dir: DataDir = None,
    as_json_line: Json = False,
    markdown: Markdown = None,
) -> None:
    """Create, bulk create, read and count products on three nodes with fsync on; then kill the leader.

    With --mode or --suite: loads of your own choice, and no kills. What follows --suite is for these.
    """
    shares = {"create": create, "read": read, "update": update, "delete": delete}
    for_loads = (bulk_size, preseed, storage_profile, nodes, rate) != FOR_LOADS
    for_mixtures = (shares, light_reads) != FOR_MIXTURES
    for_all_cases = (failovers, port) != FOR_ALL_CASES
    if mode is not None and suite is not None:
        raise ConfigError("give either --mode or --suite")
    if mode is None and suite is None:
        if for_loads or for_mixtures:
            raise ConfigError("without --mode or --suite all cases are measured, and none of their options counts")
        plan = Plan(
            seconds=seconds,
            operations_max=operations,
            connections=_connections(connections),
            failovers=failovers,
            model=model,
        )
        ports = list(range(port, port + NODES)) if port is not None else free_ports(NODES)
        report = _run(lambda directory, tell: run_crud(directory, ports, plan, tell), data_dir)
        _print(crud_report.as_table(report), crud_report.about(report))
        _write(markdown, crud_report.as_markdown(report))
        if as_json_line:
            typer.echo(crud_report.as_json(report))
        return
    if for_all_cases:
        raise ConfigError("--failovers and --port count without --mode and --suite only")
    if for_mixtures and mode is not Mode.RANDOM:
        raise ConfigError("--create, --read, --update, --delete and --light-reads count with --mode random only")
    if suite is not None and rate is not None:
        raise ConfigError("--rate does not count with --suite")
    place = Place(nodes=nodes, profile=storage_profile, path=PATHS[model], preseed=preseed)
    many = _connections(connections)
    if suite is not None:
        title, workloads = suite.value, suites.suite(suite, place, max(many), bulk_size)
    else:
        assert mode is not None
        weights = mix(mode, light_reads=light_reads, **shares)
        title = f"Objects, {mode.value}"
        workloads = [
            Workload(name=mode.value, weights=weights, connections=each, bulk_rows=bulk_size, rate=rate, place=place)
            for each in many
        ]
    _run_workloads(title, workloads, Limits(seconds=seconds, operations_max=operations),
                   data_dir, as_json_line, markdown)  # fmt: skip


@bench.command()
def reads(
    seconds: Seconds = 3.0,
    operations: Operations = 200_000,
    connections: Annotated[int, typer.Option(min=1, max=CONNECTIONS_MAX, help="So many clients read.")] = 64,
    preseed: Preseed = suites.SUITE_PRESEED,
    storage_profile: Profile = StorageProfile.DURABLE,
    nodes: Nodes = NODES,
    rate: Rate = None,
    data_dir: DataDir = None,
    as_json_line: Json = False,
    markdown: Markdown = None,
) -> None:
    """Read objects in every way, strong and eventually, at the leader and at all nodes."""
    place = Place(nodes=nodes, profile=storage_profile, preseed=preseed)
    workloads = suites.reads(place, connections, rate)
    _run_workloads("Reads", workloads, Limits(seconds=seconds, operations_max=operations),
                   data_dir, as_json_line, markdown)  # fmt: skip


@bench.command()
def stateless(
    seconds: Seconds = 3.0,
    operations: Operations = 400_000,
    connections: Annotated[str, typer.Option(help="At how many connections each is measured.")] = "64,256",
    preseed: Preseed = 0,
    nodes: Nodes = NODES,
    rate: Rate = None,
    data_dir: DataDir = None,
    as_json_line: Json = False,
    markdown: Markdown = None,
) -> None:
    """Ask one node, the leader, for its status, its health and a count."""
    workloads = suites.stateless(Place(nodes=nodes, preseed=preseed), _connections(connections), rate)
    _run_workloads("Status, count, health", workloads, Limits(seconds=seconds, operations_max=operations),
                   data_dir, as_json_line, markdown)  # fmt: skip


KvSeconds = Annotated[float, typer.Option(min=0.1, max=60, help="About how long each case runs in a round.")]
KvOperations = Annotated[int, typer.Option(min=1, max=1_000_000, help="Requests that end a round early.")]
KvRounds = Annotated[int, typer.Option(min=1, max=20, help="How often each case runs; the middle one counts.")]
KvKeys = Annotated[int, typer.Option(min=1, max=1_000_000, help="How many keys every system holds.")]


@bench.command()
def kv(
    seconds: KvSeconds = 1.5,
    operations: KvOperations = 400_000,
    rounds: KvRounds = 3,
    keys: KvKeys = 100_000,
    data_dir: DataDir = None,
    as_json_line: Json = False,
    markdown: Markdown = None,
) -> None:
    """Set and get keys on three nodes; on three of etcd and a Redis, too, in turns, if they are installed."""
    _run_kv(KvPlan(seconds=seconds, operations_max=operations, rounds=rounds, keys=keys),
            data_dir, as_json_line, markdown)  # fmt: skip


@bench.command()
def compare(
    system: Annotated[Rival, typer.Argument(help="With what.")],
    seconds: KvSeconds = 1.5,
    operations: KvOperations = 400_000,
    rounds: KvRounds = 3,
    keys: KvKeys = 100_000,
    data_dir: DataDir = None,
    as_json_line: Json = False,
    markdown: Markdown = None,
) -> None:
    """Set and get keys on three nodes and on another system, in the same run and in turns. It has to be installed."""
    _run_kv(KvPlan(seconds=seconds, operations_max=operations, rounds=rounds, keys=keys, rival=system),
            data_dir, as_json_line, markdown)  # fmt: skip


def _run_kv(plan: KvPlan, data_dir: Path | None, as_json_line: bool, markdown: Path | None) -> None:
    ports = free_ports(PORTS)
    report = _run(lambda directory, tell: run_kv(directory, ports, plan, tell), data_dir)
    _print(kv_report.as_table(report), kv_report.about(report))
    _write(markdown, kv_report.as_markdown(report))
    if as_json_line:
        typer.echo(kv_report.as_json(report))


@bench.command()
def tasks(
    seconds: Annotated[float, typer.Option(min=0.1, max=120, help="How long each case runs.")] = 5.0,
    operations: Annotated[int, typer.Option(min=1, max=1_000_000, help="Requests that end a case early.")] = 200_000,
    connections: Annotated[int, typer.Option(min=1, max=CONNECTIONS_MAX, help="So many submit one by one.")] = 256,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that do the tasks.")] = 4,
    pending: Annotated[
        int, typer.Option(min=1000, max=1_000_000, help="So many tasks wait when the memory is looked at.")
    ] = 100_000,
    data_dir: DataDir = None,
    as_json_line: Json = False,
    markdown: Markdown = None,
) -> None:
    """Submit tasks to three nodes with fsync on, one by one and in batches; have workers do them; kill the leader."""
    plan = TasksPlan(
        seconds=seconds, operations_max=operations, connections=connections, workers=workers, pending=pending
    )
    ports = free_ports(NODES)
    report = _run(lambda directory, tell: run_tasks(directory, ports, plan, tell), data_dir)
    _print(tasks_report.as_table(report), tasks_report.about(report))
    _write(markdown, tasks_report.as_markdown(report))
    if as_json_line:
        typer.echo(tasks_report.as_json(report))


@bench.command()
def idle(
    seconds: Annotated[float, typer.Option(min=0.1, max=600, help="How long the nodes are left alone.")] = 10.0,
    rows: Annotated[int, typer.Option(min=1, max=PRESEED_MAX, help="Objects that are there at the kills.")] = 100_000,
    data_dir: DataDir = None,
    as_json_line: Json = False,
    markdown: Markdown = None,
) -> None:
    """What each of three nodes costs that does nothing, and how soon one is back after a kill -9."""
    plan = IdlePlan(seconds=seconds, rows=rows)
    ports = free_ports(NODES)
    report = _run(lambda directory, tell: run_idle(directory, ports, plan, tell), data_dir)
    _print(idle_report.as_table(report), idle_report.about(report))
    _write(markdown, idle_report.as_markdown(report))
    if as_json_line:
        typer.echo(idle_report.as_json(report))


def _run_workloads(
    title: str,
    workloads: Sequence[Workload],
    limits: Limits,
    data_dir: Path | None,
    as_json_line: bool,
    markdown: Path | None,
) -> None:
    report = _run(lambda directory, tell: run_workloads(directory, title, workloads, limits, tell), data_dir)
    _print(workload_report.as_table(report), workload_report.about(report))
    _write(markdown, workload_report.as_markdown(report))
    if as_json_line:
        typer.echo(workload_report.as_json(report))


def _run(measure: Measure[Report], data_dir: Path | None) -> Report:
    """What ``measure`` finds in a new directory, telling what it is about to do. Ends the program on a signal."""
    console = wide_console()

    def tell(line: str) -> None:
        console.print(f"{line} ...", highlight=False, markup=False)

    with data_directory(data_dir, "bench") as place, TemporaryDirectory(dir=place, prefix="bench-") as directory:
        try:
            return run_interruptible(measure(Path(directory), tell), loop_factory=uvloop.new_event_loop)
        except Interrupted:
            raise typer.Abort from None
        except TimeoutError:
            raise LoadFailed("the cluster had no leader, or a node did not catch up, in time") from None


def _print(table: Table, about: str) -> None:
    console = wide_console()
    console.print()
    width = console.measure(table, options=console.options.update(max_width=COLUMNS_MAX)).maximum
    (console if console.width >= width else Console(width=width)).print(table)  # lines broken, rather than numbers cut
    console.print(f"\n{about}", highlight=False, markup=False)


def _write(path: Path | None, page: str) -> None:
    """Say where it is. Raises :class:`ConfigError` if that cannot be done."""
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error
    typer.echo(f"The table is in {path}.")


def _connections(text: str) -> tuple[int, ...]:
    """The numbers in ``1,64,256``. Raises :class:`ConfigError`."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() and 1 <= int(part) <= CONNECTIONS_MAX for part in parts):
        raise ConfigError(f"--connections takes numbers from 1 to {CONNECTIONS_MAX} by commas, not {text!r}")
    return tuple(map(int, parts))
