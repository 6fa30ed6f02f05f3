"""What ``quorate node`` says of wrong settings: the name under which each was given, and what is allowed."""

from __future__ import annotations

import re
from dataclasses import replace
from inspect import signature
from pathlib import Path

import pytest

from quorate import ConfigError, RaftConfig
from quorate import config as config_module
from quorate.cli import node as node_module
from quorate.config import StorageConfig, build, load_node_config, unknown_settings
from quorate.storage.settings import DURABLE, PROFILES, StorageProfile

from .support import outcome


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("", "node_id is required: give --node-id, or set QUORATE_NODE_ID"),
        ("--node-id 0", "--node-id must be from 1 to 999999999, not 0"),
        ("--node-id 1 --port 99999", "--port must be from 1 to 65535, not 99999"),
        ("--node-id 1 --snapshot-threshold 0", "--snapshot-threshold must be at least 1, not 0"),
        ("--node-id 1 --log-level loud", "--log-level must be 'debug', 'info', 'warning' or 'error', not 'loud'"),
        ("--node-id 1 --maxmemory lots", "--maxmemory must be a number of bytes, as 512mib or 2gb, not 'lots'"),
        ("--node-id 1 --notify-keyspace-events Q",
         "--notify-keyspace-events may have the letters KEAg$lshzxetd, not 'Q'"),
        ("--node-id 1 --kv-password=", "--kv-password must not be empty"),
        ("--node-id 1 --data-dir=", "--data-dir must not be empty"),
        ("--node-id 1 --cluster-id=", "--cluster-id must not be empty"),
        (f"--node-id 1 --cluster-id={129 * 'x'}", "--cluster-id must have at most 128 characters"),
        ("--node-id 1 --peers 8081,a:b", "--peers is wrong: 'a:b' is no peer: give host:port, a port, or id@host:port"),
        ("--node-id 1 --advertise x", "--advertise is wrong: 'x' is no peer: give host:port, a port, or id@host:port"),
        ("--node-id 1 --host 0.0.0.0",
         "others cannot reach a node at 0.0.0.0: say with --advertise where they can"),
        ("--node-id 1 --peers 2@127.0.0.1:8080",
         "two of the cluster's nodes have the same address: 1@127.0.0.1:8080, 2@127.0.0.1:8080"),
        ("--node-id 1 --peers 8080",
         "two of the cluster's nodes have the same address: 1@127.0.0.1:8080, 127.0.0.1:8080"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_flag(capsys: pytest.CaptureFixture[str], arguments: str, said: str) -> None:
    assert outcome(capsys, "node", *arguments.split()) == (2, "", f"quorate: {said}\n")


@pytest.mark.parametrize(("host", "node_id"), [("quorate-0", 1), ("a-1-12", 13), ("node-2.shop.svc", 3)])
def test_the_name_of_the_host_gives_the_id_unless_one_is_given(
    monkeypatch: pytest.MonkeyPatch, host: str, node_id: int
) -> None:
    monkeypatch.setattr(config_module, "gethostname", lambda: host)
    monkeypatch.setenv("QUORATE_NODE_ID_FROM_HOSTNAME", "yes")
    assert load_node_config(None, {}).node_id == node_id
    assert load_node_config(None, {"node_id": 7}).node_id == 7
    assert not load_node_config(None, {"node_id": 7, "node_id_from_hostname": False}).node_id_from_hostname


@pytest.mark.parametrize("host", ["quorate", "node3", "quorate-0a", "quorate-"])
def test_the_name_of_a_host_that_has_no_number(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setattr(config_module, "gethostname", lambda: host)
    code, _, said = outcome(capsys, "node", "--node-id-from-hostname")
    assert code == 2
    assert said == f"quorate: the host's name, '{host}', does not end with - and a number, so give --node-id\n"


def test_a_node_passes_over_itself_in_a_list_of_all_members() -> None:
    everybody = "1@127.0.0.1:8080,2@127.0.0.1:8081"
    for node_id, port in ((1, 8080), (2, 8081)):
        settings = load_node_config(None, {"node_id": node_id, "port": port, "peers": everybody})
        assert set(settings.raft_config().cluster_nodes) == set(everybody.split(","))


def test_each_mistake_in_the_environment_is_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"NODE_ID": "two", "PORT": "70000", "JOIN": "maybe", "KV_PASSWORD": ""}.items():
        monkeypatch.setenv(f"QUORATE_{name}", value)
    code, out, err = outcome(capsys, "node", "--port", "8080")
    assert (code, out) == (2, "")
    assert sorted(err.splitlines()) == [
        "quorate: QUORATE_JOIN must be true or false, not 'maybe'",
        "quorate: QUORATE_KV_PASSWORD must not be empty",
        "quorate: QUORATE_NODE_ID must be a whole number, not 'two'",
    ]


def test_each_mistake_in_a_file_is_a_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUORATE_RESP_PORT", "none")
    file = tmp_path / "node.toml"
    file.write_text("node_id = 1.5\npeers = 3\ncluster_id = 5\nprot = 1\n[more]\nx = 1\n")
    code, out, err = outcome(capsys, "node", "--config", str(file))
    assert (code, out) == (2, "")
    assert sorted(line.removeprefix(f"quorate: {file}: ") for line in err.splitlines()) == [
        "cluster_id must be text",
        "more is no setting",
        "node_id must be a whole number, not 1.5",
        "peers must be text, or a list of texts",
        "prot is no setting; did you mean port?",
        "quorate: QUORATE_RESP_PORT must be a whole number, not 'none'",
    ]


def test_a_password_is_never_repeated(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "node.toml"
    file.write_text("node_id = 1\nkv_password = 1234567\n")
    assert outcome(capsys, "node", "--config", str(file)) == (2, "", f"quorate: {file}: kv_password must be text\n")


def test_a_program_is_told_its_own_names(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        build(RaftConfig, cluster_nodes=("1@127.0.0.1:1",), data_dir=tmp_path, heartbeat_interval_ms=5, hart=1)
    assert str(raised.value).split("; ") == [
        "node_id is required",
        "heartbeat_interval_ms must be at least 10, not 5",
        "hart is no setting",
    ]


def test_variables_that_are_no_settings_are_warned_of_and_the_node_runs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    served = []

    async def serve(settings: object) -> None:
        served.append(settings)

    monkeypatch.setattr(node_module, "_serve", serve)
    monkeypatch.setenv("QUORATE_LOG_LEVLE", "debug")
    assert outcome(capsys, "node", "--node-id", "1")[0] == 0
    assert len(served) == 1
    assert "QUORATE_LOG_LEVLE is set, but is no setting; did you mean QUORATE_LOG_LEVEL?" in caplog.messages


def test_which_variables_are_no_settings() -> None:
    read = ["QUORATE_PORT", "quorate_host", "QUORATE_CLUSTER", "QUORATE_NEMESIS_ISOLATED", "PORT", "MY_QUORATE_PORT"]
    assert unknown_settings(dict.fromkeys(read, "")) == []
    source = Path(__file__).parents[2] / "src"
    named = {
        name for path in source.rglob("*.py") for name in re.findall(r'"(QUORATE_[A-Z_]+[A-Z])"', path.read_text())
    }
    assert "QUORATE_CLUSTER" in named
    assert unknown_settings(dict.fromkeys(named, "")) == []
    assert unknown_settings({"QUORATE_SERVICE_HOST": "", "quorate_prot": ""}) == [
        "QUORATE_SERVICE_HOST is set, but is no setting",
        "quorate_prot is set, but is no setting; did you mean QUORATE_PORT?",
    ]


def test_lies_of_nodes_are_not_survived_and_nobody_is_told_otherwise(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A1.32."""
    nodes = {"node_id": 1, "cluster_nodes": ("127.0.0.1:8080",), "data_dir": tmp_path}
    assert build(RaftConfig, fault_tolerance="crash", **nodes).fault_tolerance == "crash"
    with pytest.raises(ConfigError, match=r"^fault_tolerance cannot be 'byzantine': nodes may crash"):
        build(RaftConfig, fault_tolerance="byzantine", **nodes)
    monkeypatch.setenv("QUORATE_FAULT_TOLERANCE", "byzantine")
    status, _, said = outcome(capsys, "node", "--node-id", "1")
    assert status != 0
    assert "QUORATE_FAULT_TOLERANCE cannot be 'byzantine'" in said
    monkeypatch.setenv("QUORATE_FAULT_TOLERANCE", "omission")
    assert "QUORATE_FAULT_TOLERANCE must be 'crash', not 'omission'" in outcome(capsys, "node", "--node-id", "1")[2]


def test_each_setting_of_storage_may_be_given_over_its_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    """A2.53-A2.67; flags win over our variables, which win over those by which another system knows the settings."""
    assert load_node_config(None, {"node_id": 1}).storage == DURABLE
    monkeypatch.setenv("STORAGE_PROFILE", "balanced")
    monkeypatch.setenv("LT_BUFFER_SIZE", "65536")
    monkeypatch.setenv("LT_ENABLE_BINARY", "0")
    monkeypatch.setenv("LT_FLUSH_INTERVAL_MS", "7")
    monkeypatch.setenv("LT_DISABLE_INDEX", "0")
    monkeypatch.setenv("LT_DEDUP_PERSIST", "1")
    balanced = PROFILES[StorageProfile.BALANCED]
    expected = replace(balanced, buffer_size=65_536, enable_binary=False, flush_interval_ms=7)
    assert load_node_config(None, {"node_id": 1}).raft_config().storage == expected
    monkeypatch.setenv("QUORATE_FLUSH_INTERVAL_MS", "9")
    monkeypatch.setenv("QUORATE_STORAGE_PROFILE", "high_throughput")
    found = load_node_config(None, {"node_id": 1, "buffer_size": 4096, "event_max_batch": 5}).raft_config()
    assert found.storage_profile is StorageProfile.HIGH_THROUGHPUT
    throughput = PROFILES[StorageProfile.HIGH_THROUGHPUT]
    assert found.storage == replace(
        throughput, buffer_size=4096, enable_binary=False, flush_interval_ms=9, event_max_batch=5
    )


def test_the_other_systems_variables_win_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "node.toml"
    file.write_text('storage_profile = "balanced"\nmax_events_buffer = 10\nbuffer_size = 4096\n')
    monkeypatch.setenv("LT_MAX_EVENTS_BUFFER", "20")
    storage = load_node_config(file, {"node_id": 1}).storage
    assert (storage.max_events_buffer, storage.buffer_size, storage.fsync_on_append) == (20, 4096, False)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"LT_BUFFER_SIZE": "big"}, "LT_BUFFER_SIZE must be a whole number, not 'big'"),
        ({"LT_FSYNC_ON_APPEND": "perhaps"}, "LT_FSYNC_ON_APPEND must be true or false, not 'perhaps'"),
        ({"QUORATE_BUFFER_SIZE": "1", "LT_BUFFER_SIZE": "65536"},
         "QUORATE_BUFFER_SIZE must be from 4096 to 1073741824, not '1'"),
        ({"STORAGE_PROFILE": "fast"},
         "STORAGE_PROFILE must be 'durable', 'durable_security', 'balanced' or 'high_throughput', not 'fast'"),
        ({"LT_OPT_PERSIST": "0", "STORAGE_PROFILE": "balanced"},
         "opt_persist and fsync_on_append cannot both be off: without the writer thread nobody would sync later"),
        ({"LT_DISABLE_INDEX": "1"},
         "LT_DISABLE_INDEX can only be 0 here: the log has no index to do without, and those of the models are in "
         "their state"),
        ({"LT_DEDUP_PERSIST": "0"},
         "LT_DEDUP_PERSIST can only be 1 here: request ids are replicated state, and a node without them would apply a "
         "retry that the others do not"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_settings_of_storage(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert outcome(capsys, "node", "--node-id", "1") == (2, "", f"quorate: {said}\n")


def test_every_setting_of_storage_has_a_flag() -> None:
    parameters = signature(node_module.node).parameters
    assert set(StorageConfig.model_fields) <= set(parameters)
