"""A task's way through a cluster: submitted to one node, done by a worker, and its result read on another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from quorate.ops.local_cluster import LocalCluster, NoProgress
from quorate.rest.http_client import HttpClient

WAIT_SECONDS = 4
"""So long a request for the result waits: less than an answer may take."""
ASKED_MAX = 10


@dataclass(frozen=True, slots=True)
class FirstTask:
    """What has become of it, in the words of the node that was asked."""

    submitted_to: int
    read_on: int
    task: dict[str, Any]

    def as_sentence(self) -> str:
        """For people."""
        return (
            f"the task {self.task['task_id']} was submitted to node {self.submitted_to} and done by "
            f"{self.task['worker']}; node {self.read_on} has its result: {self.task['result']!r}"
        )


async def do_first_task(cluster: LocalCluster, http: HttpClient, task_id: str) -> FirstTask:
    """Have one of the workers that run do a task of the shop. Raises :class:`NoProgress`."""
    first, *_, last = cluster.nodes.values()
    payload = {"to": "ann@example.org", "product": "Oak"}
    document = {"id": task_id, "type": "send_offer", "payload": payload}
    submitted = await http.post(f"{first.url}/api/v1/tasks", document)
    if submitted.status not in (200, 201):
        raise NoProgress(f"node {first.node_id} did not take a task: {submitted.text[:200]}")
    for _ in range(ASKED_MAX):
        cluster.check_running()
        answer = (await http.get(f"{last.url}/api/v1/tasks/{task_id}?wait={WAIT_SECONDS}")).json()
        if answer.get("status") == "succeeded":
            return FirstTask(first.node_id, last.node_id, answer)
    raise NoProgress(f"the task was not done within {ASKED_MAX * WAIT_SECONDS} s: {answer}")
