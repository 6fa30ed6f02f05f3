"""The log as JSON in lines (D97)."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import pytest

from quorate.machine.commands import decode_batch
from quorate.ops.inspect.export import export_log
from tests.cli.support import outcome

from .data_directories import footprint, make_directory, overwrite, segments


def test_every_entry_is_a_line_with_its_payload_whole(tmp_path: Path) -> None:
    directory = make_directory(tmp_path / "node1")
    before = footprint(directory)
    out = io.BytesIO()
    report = export_log(directory, out)
    assert report.problems == []
    assert footprint(directory) == before
    head, *entries = map(json.loads, out.getvalue().splitlines())
    assert head == {"cluster_id": "quorate", "node_id": 1, "floor_index": 0, "last_index": 30, "applied_index": 28}
    assert [entry["index"] for entry in entries] == list(range(1, 31))
    assert (entries[9]["kind"], entries[29]["term"]) == ("MEMBERSHIP", 2)
    assert entries[4]["commands"] == {"default": 1, "models": 1}
    commands = decode_batch(base64.b64decode(entries[4]["payload"])).commands
    assert commands[0].body == b"command 5"


def test_what_is_behind_damage_is_left_out_and_that_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory, file = make_directory(tmp_path / "node1"), tmp_path / "log.jsonl"
    overwrite(segments(directory)[1], 200, b"\xff\xff\xff\xff")
    code, out, err = outcome(capsys, "inspect", str(directory), "--export", str(file))
    head, *entries = map(json.loads, file.read_text().splitlines())
    assert code == 1
    assert [entry["index"] for entry in entries] == list(range(1, head["last_index"] + 1))
    assert 1 < head["last_index"] < 30
    assert out == f"entries 1 to {head['last_index']} are in {file}\n"
    assert err.startswith("damaged: ")


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory, file = make_directory(tmp_path / "node1"), tmp_path / "log.jsonl"
    file.write_text("precious")
    code, _, err = outcome(capsys, "inspect", str(directory), "--export", str(file))
    assert (code, err) == (2, f"quorate: {file} is there already: it is not overwritten\n")
    assert file.read_text() == "precious"
    code, _, err = outcome(capsys, "inspect", str(directory), "--export", str(file), "--json")
    assert (code, err.startswith("quorate: --export writes all")) == (2, True)
