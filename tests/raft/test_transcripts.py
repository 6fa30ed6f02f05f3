"""Plays the transcripts. ``pytest tests/raft --rewrite`` writes what happens now into them; read the diff then."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.raft.transcript import play

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcript(path: Path, rewrite: bool) -> None:
    text = path.read_text()
    played = play(text)
    if rewrite:
        path.write_text(played)
    else:
        assert played == text


def test_there_are_transcripts() -> None:
    assert len(TRANSCRIPTS) >= 13
