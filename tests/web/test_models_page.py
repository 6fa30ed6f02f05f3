"""What ``docs/models.md`` shows is what a node answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import httpx
import pytest

from quorate import App
from quorate.errors import ConfigError

from .support import StartCluster, client_of

PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text()


def declared() -> App:
    """The app of the page."""
    source = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]
    module = ModuleType("page")
    exec(compile(source, "docs/models.md", "exec", dont_inherit=True), module.__dict__)
    app = module.app
    assert isinstance(app, App)
    return app


def exchanges() -> Iterator[tuple[str, str]]:
    """The requests and their answers."""
    for block in re.findall(r"```http\n(.*?)```", PAGE, re.DOTALL):
        for exchange in block.strip().split("\n\n"):
            request, answer = exchange.split("\n")
            yield request, answer


def told(answer: httpx.Response) -> str:
    """An answer as the page has it."""
    if answer.status_code == 422:
        error = answer.json()["errors"][0]
        return f"422 {error['field']}: {error['message']}"
    return f"{answer.status_code} {answer.json()['detail'] if answer.is_error else answer.text}".strip()


async def test_the_page_shows_what_is_answered(start_cluster: StartCluster) -> None:
    (server,) = await start_cluster(1, apps=[declared()])
    await server.node.wait_for_leader()
    seen = []
    async with client_of(server, timeout=20, headers={"content-type": "application/json"}) as client:
        for request, _ in exchanges():
            method, path, *body = request.split(" ", 2)
            seen.append((request, told(await client.request(method, path, content="".join(body)))))
    assert seen == list(exchanges())
    assert len(seen) > 15


def test_the_page_shows_how_contradictions_are_refused() -> None:
    rows = re.findall(r"^\| `(x: .*?)` \| `(Thing\.x: .*?)` \|$", PAGE, re.MULTILINE)
    assert len(rows) == 8
    prelude = "from datetime import timedelta\nfrom quorate import Model, field\n"
    prelude += "class Team(Model):\n    id: int = field(primary_key=True)\n"
    for declaration, message in rows:
        source = f"{prelude}class Thing(Model):\n    id: int = field(primary_key=True)\n    {declaration}\n"
        with pytest.raises(ConfigError) as error:
            exec(compile(source, "declared", "exec", dont_inherit=True), {"__name__": "declared"})
        assert str(error.value) == message
