"""What ``deploy/`` says fits together, and fits the node: names, ports, times, settings.

Neither Docker nor Kubernetes runs here; systemd checks its unit itself where it is installed.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from quorate import config as config_module
from quorate.config import NodeConfig, load_node_config, unknown_settings
from quorate.node.node import DRAIN_SECONDS_MAX
from quorate.web.status import HEALTH_SECONDS_MAX

DEPLOY = Path(__file__).parents[2] / "deploy"
ROOT = DEPLOY.parent
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
UNIT = (DEPLOY / "systemd" / "quorate@.service").read_text()
NEEDED_SECONDS = DRAIN_SECONDS_MAX + 5
"""A node that stops drains, and then closes what is left."""


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def manifest(kind: str, name: str = "quorate") -> dict[str, Any]:
    """The Kubernetes object; every file that the kustomization names is looked at, and no other is there."""
    (listed,) = documents("kubernetes/kustomization.yaml")
    files = {path.name for path in (DEPLOY / "kubernetes").iterdir()} - {"kustomization.yaml"}
    assert set(listed["resources"]) == files
    found = [each for file in sorted(files) for each in documents(f"kubernetes/{file}")]
    (one,) = [each for each in found if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return one


def read_with(monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str]) -> NodeConfig:
    """The settings of a node with these variables alone."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return load_node_config(None, {})


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


# -- the image ----------------------------------------------------------------------------------------------


def test_the_image_is_built_of_what_is_there_and_its_context_has_it() -> None:
    copied = [
        name for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE) for name in line.split()[:-1]
    ]
    kept = {line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().split() if line.startswith("!")}
    assert all((ROOT / name).exists() for name in copied)
    assert kept == set(copied)
    included = (ROOT / "pyproject.toml").read_text().partition("force-include]\n")[2].partition("\n\n")[0]
    assert {line.split('"')[1] for line in included.splitlines()} <= kept


def test_the_image_does_not_run_as_root_and_keeps_its_data_in_a_volume() -> None:
    _, _, last = DOCKERFILE.rpartition("\nFROM ")
    assert re.search(r"^USER (\d+):\d+$", last, re.MULTILINE)
    volume = re.search(r"^VOLUME (\S+)$", last, re.MULTILINE)
    assert volume is not None
    assert f"QUORATE_DATA_DIR={volume[1]}" in last
    assert "STOPSIGNAL SIGTERM" in last
    assert last.index("STOPSIGNAL") < last.index("HEALTHCHECK") < last.index('ENTRYPOINT ["quorate"]')


# -- Compose ------------------------------------------------------------------------------------------------


def test_the_three_of_compose_are_one_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    (compose,) = documents("compose.yml")
    clusters, ports = [], []
    for number, (name, service) in enumerate(compose["services"].items(), start=1):
        given = {key: value for key, value in service["environment"].items() if value is not None}
        assert unknown_settings(given) == []
        node = read_with(monkeypatch, {"QUORATE_HOST": "0.0.0.0", "QUORATE_PORT": "8080", **given})
        assert (node.node_id, node.address, node.forward_writes) == (number, f"{name}:8080", True)
        clusters.append(set(node.raft_config().cluster_nodes))
        ports += service["ports"]
        assert seconds(service["stop_grace_period"]) >= NEEDED_SECONDS
        (volume,) = service["volumes"]
        assert volume == f"{name}:/var/lib/quorate"
    assert clusters == [{f"{number}@node{number}:8080" for number in (1, 2, 3)}] * 3
    assert ports == [f"127.0.0.1:{port}:8080" for port in (8080, 8081, 8082)]
    assert set(compose["volumes"]) == set(compose["services"])


# -- systemd ------------------------------------------------------------------------------------------------


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze here")
    unit = tmp_path / "quorate@.service"
    unit.write_text(UNIT.replace("/opt/quorate/bin/quorate", "/bin/true"))
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / "quorate@1.service")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert [line for line in ended.stderr.splitlines() if "quorate@" in line] == []
    assert ended.returncode == 0, ended.stderr


def test_the_unit_gives_a_node_time_and_does_not_start_one_that_was_removed() -> None:
    assert "Type=notify\n" in UNIT
    assert "TimeoutStartSec=infinity\n" in UNIT
    limit = re.search(r"^TimeoutStopSec=(\d+)s$", UNIT, re.MULTILINE)
    assert limit is not None
    assert int(limit[1]) >= NEEDED_SECONDS
    assert "RestartPreventExitStatus=2 3\n" in UNIT
    assert "EnvironmentFile=/etc/quorate/%i.env\n" in UNIT


def test_the_example_of_a_nodes_environment_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (DEPLOY / "systemd" / "1.env.example").read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert unknown_settings(given) == []
    node = read_with(monkeypatch, given)
    assert node.node_id == 1
    assert set(node.raft_config().cluster_nodes) == set(given["QUORATE_PEERS"].split(","))


# -- Kubernetes ---------------------------------------------------------------------------------------------


def pods_environment(pod: str, namespace: str = "store") -> dict[str, str]:
    """The variables of the container in ``pod``, as Kubernetes would make them."""
    (container,) = manifest("StatefulSet")["spec"]["template"]["spec"]["containers"]
    values = dict(manifest("ConfigMap")["data"])
    fields = {"metadata.name": pod, "metadata.namespace": namespace}
    for variable in container["env"]:
        value = variable.get("value") or fields[variable["valueFrom"]["fieldRef"]["fieldPath"]]
        values[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda match: values[match[1]], value)
    return values


@pytest.mark.parametrize("ordinal", [0, 1, 2])
def test_a_pods_name_makes_it_a_member(ordinal: int, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = pods_environment(f"quorate-{ordinal}")
    monkeypatch.setattr(config_module, "gethostname", lambda: f"quorate-{ordinal}")
    monkeypatch.setenv("QUORATE_NODE_ID_FROM_HOSTNAME", "true")
    ours = {name: value for name, value in environment.items() if name.startswith("QUORATE_")}
    assert unknown_settings(ours) == []
    node = read_with(monkeypatch, ours)
    assert node.node_id == ordinal + 1
    headless = manifest("StatefulSet")["spec"]["serviceName"]
    names = {f"{at + 1}@quorate-{at}.{headless}.store.svc:8080" for at in range(3)}
    assert set(node.raft_config().cluster_nodes) == names
    assert node.forward_writes


@pytest.mark.parametrize(("ordinal", "joins"), [(0, False), (2, False), (3, True), (10, True)])
def test_a_pod_that_scaling_adds_waits_to_be_made_a_member(ordinal: int, joins: bool, tmp_path: Path) -> None:
    (container,) = manifest("StatefulSet")["spec"]["template"]["spec"]["containers"]
    (tmp_path / "quorate").write_text('#!/bin/sh\necho "$QUORATE_JOIN" "$@"\n')
    (tmp_path / "quorate").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/bin:/usr/bin", "POD_NAME": f"quorate-{ordinal}"}
    ended = subprocess.run(container["command"], env=environment, capture_output=True, text=True, timeout=10)
    assert ended.stdout.split() == [*(["true"] if joins else []), "node", "--node-id-from-hostname"]


def test_the_first_nodes_find_each_other_before_they_are_ready() -> None:
    stateful = manifest("StatefulSet")["spec"]
    headless = manifest("Service", stateful["serviceName"])["spec"]
    assert headless["clusterIP"] == "None"
    assert headless["publishNotReadyAddresses"] is True
    assert stateful["podManagementPolicy"] == "Parallel"
    assert stateful["replicas"] == 3


def test_selectors_and_ports_are_the_pods() -> None:
    template = manifest("StatefulSet")["spec"]["template"]
    (port,) = template["spec"]["containers"][0]["ports"]
    assert port["containerPort"] == 8080
    labels = template["metadata"]["labels"]
    assert manifest("StatefulSet")["spec"]["selector"]["matchLabels"] == labels
    assert manifest("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    for name in ("quorate", "quorate-peers"):
        service = manifest("Service", name)["spec"]
        assert service["selector"] == labels
        assert [each["targetPort"] for each in service["ports"]] == [port["name"]]


def test_a_pod_is_ready_when_it_could_serve_and_alive_when_it_answers() -> None:
    (container,) = manifest("StatefulSet")["spec"]["template"]["spec"]["containers"]
    paths = {probe: container[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "liveness", "readiness")}
    assert paths == {"startup": "/status", "liveness": "/status", "readiness": "/health"}
    assert container["readinessProbe"]["timeoutSeconds"] > HEALTH_SECONDS_MAX
    assert manifest("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


def test_a_pod_has_the_time_that_stopping_takes() -> None:
    pod = manifest("StatefulSet")["spec"]["template"]["spec"]
    before = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][-1])
    assert pod["terminationGracePeriodSeconds"] >= before + NEEDED_SECONDS


def test_a_service_of_the_same_name_sets_no_settings() -> None:
    """Kubernetes would set ``QUORATE_PORT=tcp://…`` for a service named quorate."""
    assert manifest("StatefulSet")["spec"]["template"]["spec"]["enableServiceLinks"] is False


def test_a_pod_is_as_little_as_the_image_allows() -> None:
    user = re.search(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)
    assert user is not None
    pod = manifest("StatefulSet")["spec"]["template"]["spec"]
    context = pod["securityContext"]
    assert (context["runAsNonRoot"], context["runAsUser"], context["runAsGroup"]) == (True, *map(int, user.groups()))
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts["data"] == pods_environment("quorate-0")["QUORATE_DATA_DIR"]
    (claim,) = manifest("StatefulSet")["spec"]["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == "data"
    version = re.search(r'"(.+)"', (ROOT / "src" / "quorate" / "_version.py").read_text().partition("=")[2])
    assert version is not None
    assert container["image"] == f"quorate:{version[1]}"


def test_no_secret_is_kept_here() -> None:
    texts = [path.read_text() for path in DEPLOY.rglob("*") if path.suffix in (".yaml", ".yml", ".example")]
    assert not [line for text in texts for line in text.splitlines() if re.match(r"\s*(- )?kind: Secret$", line)]
    assert json.dumps(documents("compose.yml")).count('"QUORATE_ADMIN_TOKEN": null') > 0
