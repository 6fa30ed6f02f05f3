"""Workers and nodes are killed while tasks are done: none is lost, and what should come about once does."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import msgspec
import pytest
import redis.asyncio

from quorate.ops.local_cluster import LocalCluster
from quorate.ops.ports import free_ports
from quorate.tasks.client import TasksClient
from quorate.tasks.lifecycle import State
from quorate.tasks.submission import TaskRequest

from .support import eventually, quorate, show_logs
from .worker_process import Workers, workers_of

TASKS = int(os.environ.get("QUORATE_TEST_TASKS", "1200"))
"""How many tasks are done while everything around them is killed."""
BATCH = 500
WORKERS = 3
KILLS = 3
"""Of workers, beside one of the leader."""
ROOT = Path(__file__).parents[2]


@pytest.fixture
def nodes() -> int:
    """How many there are: what workers do is the same however many."""
    return 1


@pytest.fixture
async def cluster(tmp_path: Path, nodes: int) -> AsyncIterator[LocalCluster]:
    """Nodes that take tasks of all types."""
    cluster = LocalCluster(tmp_path, free_ports(nodes))
    async with AsyncExitStack() as stack:
        stack.callback(show_logs, cluster)
        await stack.enter_async_context(cluster)
        await cluster.wait_formed()
        yield cluster


@pytest.fixture
def addresses(cluster: LocalCluster) -> str:
    return ",".join(node.address for node in cluster.nodes.values())


@pytest.fixture
async def tasks(addresses: str) -> AsyncIterator[TasksClient]:
    async with TasksClient(addresses) as tasks:
        yield tasks


@pytest.fixture
async def workers(tmp_path: Path, addresses: str) -> AsyncIterator[Workers]:
    async with workers_of(tmp_path, addresses) as workers:
        yield workers


async def until_running(tasks: TasksClient, task_id: str) -> str:
    """Return when a worker has begun with it; the worker's name."""
    name = ""

    async def is_running() -> bool:
        nonlocal name
        task = await tasks.task(task_id)
        name = task.worker or ""
        return task.status == State.RUNNING.label

    await eventually(is_running, 30)
    return name


def pids(name: str, addresses: str) -> list[int]:
    """Of the processes of the worker that has this name, and works for this cluster."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if addresses.encode() in arguments and name.encode() in arguments:
            found.append(int(path.parent.name))
    return found


def nap(seconds: float, task_id: str) -> TaskRequest:
    return TaskRequest(type="nap", payload=_json(f'{{"seconds": {seconds}}}'), id=task_id, max_retries=10, backoff=0.1)


def _json(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())


@pytest.mark.timeout(300)
@pytest.mark.parametrize("nodes", [3])
async def test_each_task_is_done_and_has_its_effects_once_whoever_is_killed(
    cluster: LocalCluster, tasks: TasksClient, workers: Workers
) -> None:
    requests = [TaskRequest(type="count", exactly_once=True, max_retries=1000, backoff=0.1) for _ in range(TASKS)]
    ids = [each.task_id for at in range(0, TASKS, BATCH) for each in await tasks.submit_many(requests[at : at + BATCH])]
    running = [workers.start("--lease", "2s", "--concurrency", "16") for _ in range(WORKERS)]
    random = Random(TASKS)

    async def succeeded() -> int:
        return (await tasks.stats()).tasks[State.SUCCEEDED.label]

    async def until_done(count: int) -> None:
        async def is_done() -> bool:
            return await succeeded() >= count

        await eventually(is_done, 200)

    for kill in range(KILLS):
        await until_done(TASKS * (kill + 1) // (KILLS + 3))
        victim = running.pop(random.randrange(len(running)))
        victim.signal(signal.SIGKILL)
        running.append(workers.start("--lease", "2s", "--concurrency", "16"))
    await until_done(TASKS * (KILLS + 1) // (KILLS + 3))
    leader = await cluster.leader()
    leader.kill()
    await leader.wait_ended(5)
    await until_done(TASKS * (KILLS + 2) // (KILLS + 3))
    leader.start()
    await cluster.wait_formed()
    await until_done(TASKS)

    assert (await tasks.stats()).tasks == {state.label: TASKS * (state is State.SUCCEEDED) for state in State}
    port = next(iter(cluster.nodes.values())).port
    async with redis.asyncio.Redis(port=port, decode_responses=True) as keys:
        assert await keys.get("counted") == str(TASKS)
    for task_id in random.sample(ids, 20):
        task = await tasks.task(task_id)
        assert bytes(task.result or b"") == f'"{task_id}"'.encode()
    attempts = [(await tasks.task(task_id)).attempt for task_id in ids]
    assert max(attempts) > 1, "nobody was killed in the middle of a task"


async def test_a_worker_that_is_told_to_stop_finishes_what_it_has_begun(tasks: TasksClient, workers: Workers) -> None:
    worker = workers.start("--concurrency", "1")
    await tasks.submit_many([nap(1.0, "first"), nap(0.0, "second")])
    await eventually(lambda: worker.naps("first"), 30)
    worker.signal(signal.SIGTERM)
    assert await worker.wait_ended() == 0
    first, second = await tasks.task("first"), await tasks.task("second")
    assert (first.status, first.attempt) == ("succeeded", 1)
    assert (second.status, second.attempt) == ("ready", 0)
    assert await tasks.workers() == []
    assert "it does what it has begun" in worker.log


async def test_a_second_signal_stops_a_worker_at_once_and_another_does_its_task(
    tasks: TasksClient, workers: Workers
) -> None:
    worker = workers.start()
    await tasks.submit(nap(3600.0, "long"))
    await eventually(lambda: worker.naps("long"), 30)
    worker.signal(signal.SIGINT)

    async def is_stopping() -> bool:
        return "it does what it has begun" in worker.log

    await eventually(is_stopping)
    worker.signal(signal.SIGINT)
    assert await worker.wait_ended(5) == 4
    other = workers.start()

    async def is_done_again() -> bool:
        task = await tasks.task("long")
        return task.status == State.RUNNING.label and task.worker == other.name

    await eventually(is_done_again, 20)


async def test_a_job_in_a_process_is_killed_when_its_time_is_over(
    tasks: TasksClient, workers: Workers, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    workers.start()
    request = TaskRequest(type="sleep_on", payload=_json(f'{{"mark": "{mark}"}}'), timeout="1s", max_retries=0)
    task = await tasks.wait((await tasks.submit(request)).task_id, 30)
    assert (task.status, task.error) == ("dead", "it took longer than 1 s and was stopped")
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)


async def test_a_worker_that_was_asleep_learns_that_its_lease_is_lost(tasks: TasksClient, workers: Workers) -> None:
    sleeper = workers.start("--lease", "1s")
    await tasks.submit(nap(4.0, "nap"))
    await until_running(tasks, "nap")
    sleeper.signal(signal.SIGSTOP)
    other = workers.start("--lease", "1s")

    async def is_others() -> bool:
        return (await tasks.task("nap")).worker == other.name

    await eventually(is_others, 30)
    sleeper.signal(signal.SIGCONT)

    async def knows() -> bool:
        return "the lease is lost" in sleeper.log

    await eventually(knows, 30)
    task = await tasks.wait("nap", 30)
    assert bytes(task.result or b"") == str(other.process.pid).encode()
    sleeper.signal(signal.SIGTERM)
    assert await sleeper.wait_ended() == 0
    assert " 1 lost" in sleeper.log


async def test_several_processes_one_of_which_dies(tasks: TasksClient, workers: Workers, addresses: str) -> None:
    team = workers.start("--processes", "2", "--lease", "1s")

    async def names() -> set[str]:
        return {worker.worker_id for worker in await tasks.workers()}

    async def all_there() -> bool:
        return await names() == {"w1.1", "w1.2"}

    async def began(count: int) -> bool:
        return team.log.count("takes tasks of the types") == count

    await eventually(lambda: began(2), 30)
    for pid in pids("w1.2", addresses):
        os.kill(pid, signal.SIGKILL)
    await eventually(lambda: began(3), 30)
    await eventually(all_there, 30)
    team.signal(signal.SIGTERM)
    assert await team.wait_ended() == 0
    assert await names() == set()
    assert "it is started again" in team.log


async def test_no_process_outlives_those_who_have_started_it(
    tasks: TasksClient, workers: Workers, addresses: str
) -> None:
    team = workers.start("--processes", "2", "--lease", "1s")

    async def both_there() -> bool:
        return len(await tasks.workers()) == 2

    async def nobody_there() -> bool:
        return not pids("w1.1", addresses) and not pids("w1.2", addresses)

    await eventually(both_there, 30)
    team.signal(signal.SIGKILL)
    await eventually(nobody_there)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--app", "nowhere:app"), 2, "there is no module nowhere here"),
        (("--app", "examples.counter:app"), 2, ""),
        (("--app", "examples.mailer:app", "--cluster", "nowhere"), 2, "nowhere"),
        (("--app", "examples.mailer:app", "--lease", "1ms"), 2, "a lease is 1 to 3600 seconds"),
        (("--app", "examples.mailer:app", "--queues", "a b"), 2, "queues: should be 1 to 100 letters"),
        (("--app", "examples.mailer:app", "--concurrency", "0"), 2, "--concurrency"),
        (("--app", "examples.mailer:app", "--processes", "2", "--lease", "1ms"), 2, "a lease is 1 to 3600 seconds"),
        ((), 2, "--app"),
    ],
)
def test_settings_that_make_no_sense_are_said_in_a_line(arguments: tuple[str, ...], code: int, message: str) -> None:
    ended = quorate("worker", *arguments, cwd=ROOT)
    assert ended.returncode == code
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_the_example(tmp_path: Path) -> None:
    cluster = LocalCluster(tmp_path, free_ports(3), app="examples.mailer:app", cwd=ROOT)
    async with AsyncExitStack() as stack:
        stack.callback(show_logs, cluster)
        await stack.enter_async_context(cluster)
        await cluster.wait_formed()
        addresses = ",".join(node.address for node in cluster.nodes.values())
        command = (sys.executable, "-m", "quorate", "worker", "--app", "examples.mailer:app", "--cluster", addresses)
        worker = await asyncio.create_subprocess_exec(*command, cwd=ROOT)
        stack.push_async_callback(worker.wait)
        stack.callback(worker.terminate)
        program = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "examples.mailer", addresses, cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(60):
            said = (await program.communicate())[0].decode().splitlines()
    assert said[:2] == ["'hi' went to ann@example.org", "'hi' went to bob@example.org"]
    assert said[3] == "'reminder' went to cem@example.org"
    assert said[4].endswith("is dead (rejected): 'nobody' is no address")
