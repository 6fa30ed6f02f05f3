"""The example, and the program in the documentation, run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAMS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "embedding.md").read_text(), flags=re.DOTALL)


def run(*arguments: str) -> list[str]:
    command = [sys.executable, "-W", "error", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    return ended.stdout.splitlines()


def test_the_example_survives_its_leader() -> None:
    assert run(str(ROOT / "examples" / "keys.py")) == [
        "42 b'user:1'",
        "b'hello' [(b'christopher', 11.0)]",
        "[b'1', b'all is well']",
        "WRONGTYPE",
    ]


def test_what_the_documentation_shows_of_keys_runs() -> None:
    shown = [program for program in PROGRAMS if "kv." in program and "async with Node(" not in program]
    assert len(shown) >= 4
    body = "".join(f"        {line}\n" for program in shown for line in program.splitlines())
    program = (
        "import asyncio\nfrom quorate import *\nfrom quorate.testing import TestCluster\n"
        "async def main():\n"
        "    async with TestCluster(3, kv=True) as cluster:\n"
        f"        node = await cluster.wait_for_leader()\n{body}"
        "asyncio.run(main())\n"
    )
    run("-c", program)
