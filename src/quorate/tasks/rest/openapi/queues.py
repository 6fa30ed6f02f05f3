"""Counts, queues and dead letters."""

from __future__ import annotations

from quorate.tasks.limits import NAME_CHARACTERS_MAX
from quorate.tasks.records import QueueRecord, Stats, TaskPage
from quorate.tasks.rest.bodies import DeadBody, PurgeBody, QueueBody
from quorate.tasks.rest.openapi.parts import (
    BODY,
    CONSISTENCY,
    COUNT,
    FULL,
    READS,
    WRITES,
    Json,
    array,
    in_path,
    list_parameters,
    object_of,
    operation,
    ref,
)
from quorate.tasks.submission import NAME_PATTERN

MISSING = {404: "There is no such queue: it has neither tasks nor settings."}


def queue_paths() -> Json:
    """Counts and queues."""
    named = [in_path("name", NAME_CHARACTERS_MAX, NAME_PATTERN)]
    purged = object_of({"purged": COUNT})
    errors = {**BODY, **WRITES}
    return {
        "stats": {
            "get": operation("How many tasks are in which state", "stats", ref(Stats), READS, parameters=[CONSISTENCY])
        },
        "queues": {
            "get": operation(
                "All queues",
                "list_queues",
                object_of({"queues": array(ref(QueueRecord))}),
                READS,
                parameters=[CONSISTENCY],
            )
        },
        "queues/{name}": {
            "parameters": named,
            "get": operation("A queue", "get_queue", ref(QueueRecord), {**READS, **MISSING}, parameters=[CONSISTENCY]),
            "patch": operation(
                "Pause or resume a queue, or bound it",
                "change_queue",
                ref(QueueRecord),
                {**BODY, **WRITES, **FULL},
                body=ref(QueueBody),
            ),
            "delete": operation(
                "Remove a queue, and its tasks that have ended",
                "delete_queue",
                None,
                {**WRITES, **MISSING, 409: "The queue has tasks that have not ended."},
            ),
        },
        **{
            f"queues/{{name}}/{verb}": {
                "parameters": named,
                "post": operation(f"{summary} a queue", f"{verb}_queue", ref(QueueRecord), {**WRITES, **FULL}),
            }
            for verb, summary in (("pause", "Give out no more tasks of"), ("resume", "Give out tasks again of"))
        },
        "queues/{name}/purge": {
            "parameters": named,
            "post": operation(
                "Remove the tasks that wait in a queue, or those in other states",
                "purge_queue",
                purged,
                {**errors, 409: "Tasks that are running cannot be purged."},
                body=ref(PurgeBody),
                optional=True,
            ),
        },
    }


def dead_letter_paths() -> Json:
    """Dead letters."""
    errors = {**BODY, **WRITES}
    of_dead: Json = {"body": ref(DeadBody), "optional": True}
    purged, retried = object_of({"purged": COUNT}), object_of({"retried": COUNT})
    return {
        "dead-letters": {
            "get": operation(
                "Tasks that will not be tried again",
                "list_dead_letters",
                ref(TaskPage),
                READS,
                parameters=[each for each in list_parameters() if each["name"] not in ("status", "worker")],
            )
        },
        "dead-letters/retry": {
            "post": operation("Try all dead letters again", "retry_dead_letters", retried, errors, **of_dead)
        },
        "dead-letters/purge": {
            "post": operation("Remove all dead letters", "purge_dead_letters", purged, errors, **of_dead)
        },
    }
