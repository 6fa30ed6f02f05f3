"""A load counts only if all nodes hold the same in the end, and as much as clients were told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from quorate.ops.bench.convergence import LOOKS, Convergence, Held, check_convergence
from quorate.ops.bench.load import LoadFailed
from quorate.ops.local_cluster import LocalCluster
from quorate.ops.local_node import LocalNode

SAME = Held(objects=7, digest="a" * 64)
OTHER = Held(objects=7, digest="b" * 64)


async def check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: Iterator[Held], least: int = 7, most: int = 7
) -> Convergence:
    """Of two nodes that are not started: whoever looks finds what is next in ``held``."""

    async def caught_up(cluster: LocalCluster) -> int:
        return 1

    async def look(node: LocalNode) -> Held:
        return next(held)

    monkeypatch.setattr(LocalCluster, "wait_caught_up", caught_up)
    return await check_convergence(LocalCluster(tmp_path, [1, 2]), "two nodes", look, least=least, most=most)


async def test_nodes_that_hold_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = await check(tmp_path, monkeypatch, iter([SAME, SAME]), least=5, most=9)
    assert found == Convergence(place="two nodes", objects=7, digest="a" * 64)
    assert (
        found.in_words() == "At the end, two nodes: 7 objects, the same by their SHA-256 (aaaaaaaaaaaa) on every node."
    )


async def test_what_falls_due_while_nodes_are_looked_at_is_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await check(tmp_path, monkeypatch, iter([SAME, OTHER, OTHER, OTHER]))).digest == OTHER.digest


async def test_nodes_that_differ_fail_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LoadFailed, match=r"do not hold the same: node 1 has 7 \(SHA-256 a{12}\), node 2 has 7 "):
        await check(tmp_path, monkeypatch, iter([SAME, OTHER] * LOOKS))


@pytest.mark.parametrize(("least", "most", "told"), [(8, 8, "8"), (8, 9, "8 to 9"), (5, 6, "5 to 6")])
async def test_other_numbers_than_clients_were_told_fail_the_run(
    least: int, most: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LoadFailed, match=f"^every node holds 7 objects, and should hold {told}$"):
        await check(tmp_path, monkeypatch, iter([SAME, SAME]), least=least, most=most)
