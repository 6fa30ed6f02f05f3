"""Tasks: functions that workers do, on any machine, none lost.

::

    quorate node --node-id 1 --port 8080 --peers 8081,8082 --data-dir data/node1 --app examples.mailer:app   # and 2, 3
    quorate worker --app examples.mailer:app --cluster localhost:8080,localhost:8081,localhost:8082 --concurrency 4
    python -m examples.mailer localhost:8080,localhost:8081,localhost:8082
"""

from __future__ import annotations

import asyncio
import hashlib
import sys

from quorate import App, TaskNotDone
from quorate.tasks.client import TasksClient
from quorate.tasks.worker import Reject, current

app = App(title="Mailer")


@app.task(queue="mail", retries=3, timeout="30s")
async def send_mail(to: str, subject: str) -> str:
    """A failure is tried again after 5 s, 10 s, 20 s; an address that is none never."""
    if "@" not in to:
        raise Reject(f"{to!r} is no address")
    await asyncio.sleep(0.01)  # where a mail server would be asked
    return f"{subject!r} went to {to}"


@app.task(timeout="10s")
def fingerprint(text: str, rounds: int = 10_000) -> str:
    """Not async, and its time is limited: it runs in a process of its own, which is killed when time is over."""
    digest = text.encode()
    for _ in range(rounds):
        digest = hashlib.sha256(digest).digest()
    return digest.hex()


@app.task(exactly_once=True)
async def count_click(link: str) -> None:
    """However often it is tried, its effects come about once: with the entry of the log that completes it."""
    current().effects.key("INCRBY", f"clicks:{link}", 1)


@app.task(cron="0 7 * * *", timezone="Europe/Paris", queue="mail", ttl="1h")
async def morning_report() -> str:
    """The cluster submits one every morning, whoever leads it then."""
    return "all is well"


async def main(cluster: str) -> None:
    async with TasksClient(cluster, app=app) as tasks:
        letters = [await send_mail.send(to=f"{name}@example.org", subject="hi") for name in ("ann", "bob")]
        digest = await fingerprint.with_options(depends_on=letters, priority=9).send("some text")
        later = await send_mail.with_options(delay="2s").send(to="cem@example.org", subject="reminder")
        wrong = await send_mail.send(to="nobody", subject="hi")
        await tasks.submit_many([count_click.request(link="home") for _ in range(100)])

        for handle in (*letters, digest, later):
            print(await handle.result(timeout=30))
        try:
            await wrong.result(timeout=30)
        except TaskNotDone as error:
            print(error)
        print((await tasks.stats()).tasks)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "localhost:8080,localhost:8081,localhost:8082"))
