"""Options of the core's tests."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite", action="store_true", help="write what the core does now into the transcripts (then read the diff)"
    )


@pytest.fixture
def rewrite(request: pytest.FixtureRequest) -> bool:
    """Whether transcripts are to be regenerated."""
    return bool(request.config.getoption("--rewrite", default=False))
