"""``quorate tasks``: submit tasks to a running cluster, look at them, and keep its queues in order."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from quorate.cli import task_tables as tables
from quorate.cli.documents import AsFormat, Format, Render, Watch, show, show_again_and_again
from quorate.cli.members import Cluster
from quorate.cli.output import wide_console
from quorate.cli.status import DEFAULT_CLUSTER
from quorate.errors import ConfigError
from quorate.ops.cluster_status import parse_cluster
from quorate.ops.task_changes import task_changes
from quorate.rest.params import LIMIT_MAX
from quorate.tasks.client.nodes import Kind, Nodes
from quorate.tasks.lifecycle import BY_LABEL
from quorate.tasks.submission import new_id

PATIENCE_SECONDS = 10.0
"""So long the nodes are asked in turn while none of them can help."""
WAIT_SECONDS = 30.0
"""So long one request waits for the end of a task, before it is made again."""

TaskId = Annotated[str, typer.Argument(help="The task's id.")]
Queue = Annotated[str | None, typer.Option("--queue", "-q", help="Of this queue alone.")]
Type = Annotated[str | None, typer.Option("--type", "-t", help="Of this type alone.")]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")]
After = Annotated[str | None, typer.Option(help="Those behind a page that ended so.")]

tasks = typer.Typer(no_args_is_help=True, help="Submit tasks to a running cluster, look at them, and order its queues.")


# -- submitting ------------------------------------------------------------------------------------------


@tasks.command()
def submit(
    type: Annotated[str, typer.Argument(help="The type of the task.")],
    payload: Annotated[str, typer.Argument(help="JSON; @FILE reads a file, - standard input.")] = "null",
    queue: Annotated[str | None, typer.Option("--queue", "-q", help="The queue, if it is not the type's own.")] = None,
    id: Annotated[str | None, typer.Option(help="An id of your own: submitted again, it is the same task.")] = None,
    priority: Annotated[int | None, typer.Option(min=0, max=255, help="Higher goes first.")] = None,
    delay: Annotated[str | None, typer.Option(help="Not before so long: seconds, or 30s, 5m, 2h, 1d.")] = None,
    run_at: Annotated[str | None, typer.Option(help="Not before this moment: 2026-01-31T12:00:00Z.")] = None,
    timeout: Annotated[str | None, typer.Option(help="How long one attempt may take.")] = None,
    max_retries: Annotated[int | None, typer.Option(min=0, help="How often to try again.")] = None,
    ttl: Annotated[str | None, typer.Option(help="How long it may still be begun.")] = None,
    retention: Annotated[str | None, typer.Option(help="How long it is kept when it has ended.")] = None,
    unique_key: Annotated[str | None, typer.Option(help="One task at a time with it in the queue.")] = None,
    depends_on: Annotated[list[str] | None, typer.Option(help="A task that has to succeed before.")] = None,
    capability: Annotated[list[str] | None, typer.Option(help="What its worker must offer.")] = None,
    cron: Annotated[str | None, typer.Option(help="Submit it at each turn of this expression; --id names it.")] = None,
    timezone: Annotated[
        str | None, typer.Option(help="Where the expression's hours count.", show_default="UTC")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Return when it has ended; 1 if it did not succeed.")] = False,
    cluster: Cluster = DEFAULT_CLUSTER,
    form: AsFormat = Format.TABLE,
) -> None:
    """Submit a task, or with --cron a schedule of tasks."""
    if wait and cron is not None:
        raise ConfigError("--wait is for one task, --cron for many")
    given: dict[str, Any] = {
        "type": type,
        "payload": _payload(payload),
        "id": id or new_id(),
        "queue": queue,
        "priority": priority,
        "delay": delay,
        "run_at": run_at,
        "timeout": timeout,
        "max_retries": max_retries,
        "ttl": ttl,
        "retention": retention,
        "unique_key": unique_key,
        "depends_on": depends_on or None,
        "capabilities": capability or None,
        "cron": cron,
        "timezone": timezone,
    }
    body = {name: value for name, value in given.items() if value is not None or name == "payload"}

    async def work(nodes: Nodes) -> Any:
        submitted = await _ask(nodes, "POST", "tasks", body, kind=Kind.REPEATABLE)
        return await _ended(nodes, submitted["task_id"]) if wait else submitted

    document = _with(cluster, work)
    show(document, tables.record_table, form)
    if wait and document["status"] != "succeeded":
        raise typer.Exit(1)


def _payload(text: str) -> Any:
    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            text = Path(text[1:]).read_text()
        return json.loads(text)
    except OSError as error:
        raise ConfigError(f"{text[1:]}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"the payload is not valid JSON: {error}") from None


async def _ended(nodes: Nodes, task_id: str) -> Any:
    while True:
        task = await _ask(nodes, "GET", f"tasks/{_quoted(task_id)}?wait={WAIT_SECONDS:g}", wait=WAIT_SECONDS)
        if BY_LABEL[task["status"]].is_ended:
            return task


# -- looking ---------------------------------------------------------------------------------------------


@tasks.command()
def status(
    task_id: TaskId, watch: Watch = False, cluster: Cluster = DEFAULT_CLUSTER, form: AsFormat = Format.TABLE
) -> None:
    """Show a task."""
    _look(cluster, f"tasks/{_quoted(task_id)}", tables.record_table, form, watch)


@tasks.command("list")
def list_tasks(
    status: Annotated[str | None, typer.Option("--status", "-s", help="Of these states, by commas.")] = None,
    queue: Queue = None,
    type: Type = None,
    worker: Annotated[str | None, typer.Option(help="Of this worker alone.")] = None,
    limit: Limit = 50,
    after: After = None,
    watch: Watch = False,
    cluster: Cluster = DEFAULT_CLUSTER,
    form: AsFormat = Format.TABLE,
) -> None:
    """Show tasks, newest first."""
    wanted = {"status": status, "queue": queue, "type": type, "worker": worker, "limit": limit, "after": after}
    _look(cluster, _path("tasks", wanted), tables.tasks_table, form, watch)


@tasks.command()
def dead(
    queue: Queue = None,
    type: Type = None,
    limit: Limit = 50,
    after: After = None,
    watch: Watch = False,
    cluster: Cluster = DEFAULT_CLUSTER,
    form: AsFormat = Format.TABLE,
) -> None:
    """Show the dead letters: tasks that will not be tried again unless somebody says so."""
    wanted = {"queue": queue, "type": type, "limit": limit, "after": after}
    _look(cluster, _path("dead-letters", wanted), tables.tasks_table, form, watch)


@tasks.command()
def stats(watch: Watch = False, cluster: Cluster = DEFAULT_CLUSTER, form: AsFormat = Format.TABLE) -> None:
    """Show how many tasks are in which state."""
    _look(cluster, "stats", tables.stats_table, form, watch)


@tasks.command()
def queues(
    remove: Annotated[
        str | None, typer.Option(help="Remove the queue of this name before, and its tasks that have ended.")
    ] = None,
    watch: Watch = False,
    cluster: Cluster = DEFAULT_CLUSTER,
    form: AsFormat = Format.TABLE,
) -> None:
    """Show the queues that have tasks, or settings of their own."""
    if remove is not None:
        _do(cluster, "DELETE", f"queues/{_quoted(remove)}")
    _look(cluster, "queues", tables.queues_table, form, watch)


@tasks.command()
def workers(watch: Watch = False, cluster: Cluster = DEFAULT_CLUSTER, form: AsFormat = Format.TABLE) -> None:
    """Show the workers that were heard of lately."""
    _look_at_all(cluster, "workers", tables.workers_table, form, watch)


@tasks.command()
def schedules(
    remove: Annotated[str | None, typer.Option(help="Remove the schedule of this name before.")] = None,
    watch: Watch = False,
    cluster: Cluster = DEFAULT_CLUSTER,
    form: AsFormat = Format.TABLE,
) -> None:
    """Show the schedules."""
    if remove is not None:
        _with(cluster, lambda nodes: _remove_schedule(nodes, remove))
    _look_at_all(cluster, "schedules", tables.schedules_table, form, watch)


async def _remove_schedule(nodes: Nodes, name: str) -> None:
    path = f"schedules/{_quoted(name)}"
    schedule = await _ask(nodes, "GET", path)
    await _ask(nodes, "DELETE", path, kind=Kind.ONCE)
    if schedule.get("declared"):
        typer.echo(
            f"quorate: the program declares the schedule {name}: it comes back with the next leader, "
            "or the next start, unless it is taken out of the program",
            err=True,
        )


@tasks.command()
def watch(
    queue: Queue = None, type: Type = None, cluster: Cluster = DEFAULT_CLUSTER, form: AsFormat = Format.TABLE
) -> None:
    """Show every change of a task as it comes, until Ctrl-C."""
    addresses = parse_cluster(cluster)

    async def follow() -> None:
        console = wide_console()
        async for change in task_changes(addresses, queue=queue, type=type):
            if form is Format.TABLE:
                console.print(tables.change_line(change), soft_wrap=True, highlight=False)
            else:
                show(change, tables.record_table, form, compact=True)

    _until_interrupted(lambda: asyncio.run(follow()))


# -- changing --------------------------------------------------------------------------------------------


@tasks.command()
def cancel(
    task_id: TaskId,
    force: Annotated[bool, typer.Option("--force", help="Also if a worker is at it.")] = False,
    cluster: Cluster = DEFAULT_CLUSTER,
) -> None:
    """End a task before it is done."""
    _do(cluster, "DELETE", f"tasks/{_quoted(task_id)}{'?force=true' if force else ''}")


@tasks.command()
def retry(
    task_id: Annotated[str | None, typer.Argument(help="The task's id.")] = None,
    dead: Annotated[bool, typer.Option("--dead", help="All dead letters instead of one task.")] = False,
    queue: Queue = None,
    cluster: Cluster = DEFAULT_CLUSTER,
    form: AsFormat = Format.TABLE,
) -> None:
    """Try a task again that is dead, failed or cancelled, with all its attempts."""
    if (task_id is None) is not dead or (queue is not None and not dead):
        raise ConfigError("name one task; or all dead letters by --dead, those of one queue by --dead --queue")
    if task_id is not None:
        document = _do(cluster, "POST", f"tasks/{_quoted(task_id)}/retry")
    else:
        document = _do(cluster, "POST", "dead-letters/retry", {"queue": queue})
    show(document, tables.record_table, form)


@tasks.command()
def purge(
    queue: Queue = None,
    status: Annotated[str | None, typer.Option("--status", "-s", help="In these states, by commas.")] = None,
    dead: Annotated[bool, typer.Option("--dead", help="The dead letters, of one queue or all.")] = False,
    cluster: Cluster = DEFAULT_CLUSTER,
    form: AsFormat = Format.TABLE,
) -> None:
    """Remove the tasks that wait in a queue, or those in other states; not those that are running."""
    if dead:
        document = _do(cluster, "POST", "dead-letters/purge", {"queue": queue})
    elif queue is not None:
        states = {} if status is None else {"status": status.split(",")}
        document = _do(cluster, "POST", f"queues/{_quoted(queue)}/purge", states)
    else:
        raise ConfigError("name the queue by --queue, or the dead letters by --dead")
    show(document, tables.record_table, form)


@tasks.command()
def pause(
    queue: Annotated[str, typer.Argument(help="The queue.")],
    cluster: Cluster = DEFAULT_CLUSTER,
    form: AsFormat = Format.TABLE,
) -> None:
    """Give out no more tasks of a queue; those that come wait in it."""
    show(_do(cluster, "POST", f"queues/{_quoted(queue)}/pause", kind=Kind.REPEATABLE), tables.queue_table, form)


@tasks.command()
def resume(
    queue: Annotated[str, typer.Argument(help="The queue.")],
    cluster: Cluster = DEFAULT_CLUSTER,
    form: AsFormat = Format.TABLE,
) -> None:
    """Give out the tasks of a queue again."""
    show(_do(cluster, "POST", f"queues/{_quoted(queue)}/resume", kind=Kind.REPEATABLE), tables.queue_table, form)


# -- asking ----------------------------------------------------------------------------------------------


def _with(cluster: str, work: Callable[[Nodes], Any]) -> Any:
    async def run() -> Any:
        async with Nodes(parse_cluster(cluster), patience=PATIENCE_SECONDS) as nodes:
            return await work(nodes)

    return asyncio.run(run())


async def _ask(
    nodes: Nodes, method: str, path: str, body: object = None, *, kind: Kind = Kind.READ, wait: float = 0.0
) -> Any:
    content = None if body is None else json.dumps(body).encode()
    answer = await nodes.request(method, path, content, kind=kind, wait=wait)
    return json.loads(answer) if answer else None


def _do(cluster: str, method: str, path: str, body: object = None, *, kind: Kind = Kind.ONCE) -> Any:
    return _with(cluster, lambda nodes: _ask(nodes, method, path, body, kind=kind))


def _look(cluster: str, path: str, render: Render, form: Format, watch: bool) -> None:
    _show(cluster, lambda nodes: _ask(nodes, "GET", path), render, form, watch)


def _look_at_all(cluster: str, collection: str, render: Render, form: Format, watch: bool) -> None:
    """Of what comes in pages."""
    _show(cluster, lambda nodes: _all(nodes, collection), render, form, watch)


async def _all(nodes: Nodes, collection: str) -> Any:
    found: list[Any] = []
    after: str | None = None
    while True:
        page = await _ask(nodes, "GET", _path(collection, {"limit": LIMIT_MAX, "after": after}))
        found += page[collection]
        after = page["next"]
        if after is None:
            return {collection: found}


def _show(cluster: str, ask: Callable[[Nodes], Awaitable[Any]], render: Render, form: Format, watch: bool) -> None:
    async def again(nodes: Nodes) -> None:
        await show_again_and_again(lambda: ask(nodes), render, form)

    if watch:
        _until_interrupted(lambda: _with(cluster, again))
    else:
        show(_with(cluster, ask), render, form)


def _until_interrupted(run: Callable[[], object]) -> None:
    """Whoever looks on ends it by Ctrl-C, and that is no failure."""
    try:
        run()
    except KeyboardInterrupt:
        typer.echo()


def _path(collection: str, wanted: Mapping[str, object]) -> str:
    given = {name: value for name, value in wanted.items() if value is not None}
    return f"{collection}?{urlencode(given)}"


def _quoted(name: str) -> str:
    return quote(name, safe="@:=+")
