"""What ``/openapi.json`` says is what a running cluster does: schemathesis makes requests of all kinds from it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from .support import StartCluster

SEED = 1
EXAMPLES = 10
SECONDS_MAX = 10
NOT_ASKED = r"^/cluster|_watch$"
"""Would change the members under the test's feet; never ends."""
NOT_CHECKED = "positive_data_acceptance,use_after_free"
"""No schema says which name is taken, that a limit of a Decimal holds for its text as well, or which versions are; and
the history of what was deleted is still there."""


async def test_no_request_finds_an_error_of_the_server_or_an_answer_beside_the_schema(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    cluster = await start_cluster("--forward-writes")
    node = next(iter(cluster.nodes.values()))
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        f"http://{node.address}/openapi.json",
        *("--seed", str(SEED), "--max-examples", str(EXAMPLES), "--max-time", str(SECONDS_MAX)),
        *("--exclude-path-regex", NOT_ASKED, "--exclude-checks", NOT_CHECKED),
        *("--generation-database", "none", "--no-color", "--warnings", "off"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, output.decode(errors="replace")[-20_000:]
