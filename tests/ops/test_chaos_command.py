"""``quorate chaos`` called wrongly: told so before anything is begun, with exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from quorate.cli.main import main


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--scenario", "fire"), "there are leader_crash, follower_crash"),
        (("--duration", "1s"), "5 s to 3600 s"),
        (("--duration", "soon"), "'soon' should be seconds"),
        (("--every", "0s"), "more than nothing"),
        (("--nodes", "2"), "--nodes"),
        (("--cluster", "8080", "--nodes", "3"), "or --cluster"),
        (("--cluster", "nowhere"), "is no peer"),
        (("--cluster", "127.0.0.1:1"), "127.0.0.1:1: unreachable"),
        (("--html", "/nowhere/report.html"), "cannot write /nowhere/report.html"),
        (("--rate", "100000", "--duration", "1h"), "--rate 111 or less"),
        (("--min-availability", "101"), "--min-availability"),
    ],
)
def test_what_is_wrong_is_said(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], told: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["chaos", *arguments])
    assert (ended.value.code, told in capsys.readouterr().err) == (2, True)


def test_an_empty_file_of_a_report_is_not_left_where_nothing_was_measured(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    with pytest.raises(SystemExit):
        main(["chaos", "--cluster", "127.0.0.1:1", "--html", str(page)])
    assert not page.exists()
