"""Making a cluster of one node that is left: what is refused, what is written, why the cluster gets another name."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from quorate.config import RaftConfig
from quorate.errors import ConfigError, DataDirectoryLocked, StorageError
from quorate.machine.router import Router
from quorate.node.durable import DurableState
from quorate.node.roster import Roster
from quorate.ops.inspect.directory import inspect_directory
from quorate.ops.recover import Recovery
from quorate.ops.recoveries import recoveries_told
from quorate.raft.entry import EntryKind
from quorate.raft.membership import Configuration, Member, MemberRole
from quorate.raft.output import HardState, Write
from quorate.storage.directory import DataDirectory, StoredIdentity
from quorate.storage.real import RealFileSystem
from quorate.storage.repair import RepairMarker, save_marker
from quorate.storage.store import GroupStore
from quorate.transport.contract import Introduction

from .data_directories import (
    MEMBERS,
    change_identity,
    footprint,
    identity_of,
    make_directory,
    membership,
    overwrite,
    segments,
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """What is left of a cluster of three, and a learner."""
    return make_directory(tmp_path / "node1")


def recover(path: Path, **options: object) -> Path:
    with Recovery(path, **options) as recovery:  # type: ignore[arg-type]
        return recovery.carry_out()


def test_the_plan_says_what_is_there_and_changes_nothing(directory: Path) -> None:
    (directory / "LOCK").write_text("")  # the only file that a plan writes to: who holds it
    before = footprint(directory)
    with Recovery(directory) as recovery:
        plan = recovery.plan
    after = footprint(directory)
    assert {name: content for name, content in after.items() if name != "LOCK"} == {
        name: content for name, content in before.items() if name != "LOCK"
    }
    assert (plan.last_index, plan.last_term, plan.term, plan.new_term) == (30, 2, 2, 3)
    assert (plan.committed_index, plan.configuration_index) == (28, 10)
    assert [member.node_id for member in plan.dropped] == [2, 3, 4]
    assert plan.new_cluster_id.startswith("quorate-r")
    assert plan.role == "voter"


def test_afterwards_the_node_is_alone_with_all_its_entries(directory: Path) -> None:
    store = identity_of(directory).store
    recover(directory, new_cluster_id="shop-2")
    report = inspect_directory(directory, entries=range(1, 100))
    assert report.problems == []
    assert [entry.index for entry in report.entries] == list(range(1, 32))
    last = report.entries[-1]
    assert (last.kind, last.term) == (EntryKind.MEMBERSHIP.name, 3)
    assert (report.hard_state.term, report.hard_state.voted_for) == (3, 1)
    assert report.configuration is not None
    (alone,) = report.configuration["members"]
    assert (alone["node_id"], alone["address"], alone["role"], alone["store"]) == (1, MEMBERS[1], "voter", store)
    identity = identity_of(directory)
    assert (identity.cluster_id, identity.members, identity.peers) == ("shop-2", {1: MEMBERS[1]}, {})


def test_the_node_opens_what_was_recovered_under_the_new_name_only(directory: Path) -> None:
    recover(directory, new_cluster_id="shop-2")

    def opened(cluster_id: str) -> DurableState:
        config = RaftConfig(node_id=1, cluster_nodes=(f"1@{MEMBERS[1]}",), data_dir=directory, cluster_id=cluster_id)
        return DurableState(RealFileSystem(), config, Random(1))

    with pytest.raises(ConfigError, match="belongs to cluster 'shop-2'"):
        opened("quorate")
    durable = opened("shop-2")
    durable.open(Router({}))
    configuration = Configuration.decode(durable.store.recovered.configurations[-1].payload)
    assert configuration.ids == (1,)
    assert configuration.voters == {1}
    durable.close()


def test_a_record_says_what_was_there_before_and_a_start_tells_of_it(directory: Path) -> None:
    record = json.loads(recover(directory).read_text())
    assert record["before"]["last_index"] == 30
    assert record["before"]["identity"]["cluster_id"] == "quorate"
    assert [member["node_id"] for member in record["before"]["configuration"]["members"]] == [1, 2, 3, 4]
    assert record["after"]["configuration_index"] == 31
    assert record["by"]
    assert record["quorate"]
    (line,) = recoveries_told(directory)
    assert "recovered by force from node 1" in line
    assert "without node(s) 2, 3, 4" in line
    assert recoveries_told(directory / "groups") == []


def test_a_second_recovery_gets_a_name_of_its_own(directory: Path) -> None:
    recover(directory)
    first = identity_of(directory).cluster_id
    recover(directory)
    second = identity_of(directory).cluster_id
    assert first != second
    assert len(first) == len(second) == len("quorate-r123456")
    assert inspect_directory(directory).log.last_index == 32
    assert len(recoveries_told(directory)) == 2


def test_a_recovery_that_was_interrupted_can_be_repeated(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(self: GroupStore, writes: object) -> None:
        raise StorageError("the power is gone")

    with monkeypatch.context() as broken:
        broken.setattr(GroupStore, "persist", dies)
        with pytest.raises(StorageError):
            recover(directory, new_cluster_id="shop-2")
    half = inspect_directory(directory)
    assert identity_of(directory).cluster_id == "shop-2"  # no old member is talked to any more
    assert half.log.last_index == 30
    recover(directory, new_cluster_id="shop-3")
    assert inspect_directory(directory).log.last_index == 31


def test_a_directory_in_use_is_refused(directory: Path) -> None:
    lock = RealFileSystem().lock(directory / "LOCK")
    with pytest.raises(DataDirectoryLocked):
        Recovery(directory)
    lock.release()


def test_a_damaged_directory_is_refused_with_the_damage(directory: Path) -> None:
    overwrite(segments(directory)[0], 100, b"\xff\xff\xff")
    with pytest.raises(ConfigError, match=r"byte .*expected entry 1"):
        Recovery(directory)


def test_a_node_in_repair_takes_an_insistence_and_is_whole_afterwards(directory: Path) -> None:
    save_marker(RealFileSystem(), directory / "groups/0", RepairMarker("it lost a disk"))
    with pytest.raises(ConfigError, match=r"it lost a disk.*--discard-repair-marker"):
        Recovery(directory)
    recover(directory, discard_repair_marker=True)
    assert inspect_directory(directory).repairing is None


def test_what_holds_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no data directory"):
        Recovery(tmp_path)
    assert list(tmp_path.iterdir()) == []
    directory = DataDirectory(RealFileSystem(), tmp_path)
    directory.save_identity(StoredIdentity(cluster_id="quorate", node_id=1, address=MEMBERS[1], joining=True))
    directory.release()
    with pytest.raises(ConfigError, match="nothing to recover"):
        Recovery(tmp_path)


def test_a_witness_is_refused(directory: Path) -> None:
    change_identity(directory, node_id=4)
    store = GroupStore.open(RealFileSystem(), directory / "groups/0")
    store.persist([Write(1, HardState(2, 2), (membership(31, 2, MemberRole.WITNESS),))])
    store.close()
    with pytest.raises(ConfigError, match="a witness and holds no data"):
        Recovery(directory)


def test_another_name_is_needed_because_the_configuration_cannot_tell_the_clusters_apart() -> None:
    """Two old members that made a change without the recovered node would be taken for members that know better."""
    alone = Configuration((Member(1, MEMBERS[1]),))
    roster = Roster(1, 0xABC, (), {}, set())
    roster.go_by(alone, 31, alone, 31)
    old = Introduction(
        cluster_id="quorate", node_id=2, address=MEMBERS[2], incarnation=1, store=5, configuration_index=40
    )
    assert roster.introduce(old) is None
    assert roster.admits(2)
