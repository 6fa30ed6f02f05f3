"""What holds for all tests."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# The tests start some hundred Python processes. Each would compile the whole package anew, which takes it longer than
# all else it does, where the environment (that of a container, as a rule) forbids to keep what was compiled.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A machine that stalls for a second is no reason to fail, and every run is to try the same.
settings.register_profile(
    "suite", max_examples=50, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """What a command begins to log inside of a test ends with it: the test's standard error is closed then."""
    loggers = logging.getLogger(), logging.getLogger("uvicorn")
    root, levels = loggers[0], [each.level for each in loggers]
    handlers = set(root.handlers)
    yield
    for handler in set(root.handlers) - handlers:
        if not type(handler).__module__.startswith("_pytest"):
            root.removeHandler(handler)
            handler.close()
    for each, level in zip(loggers, levels, strict=True):
        each.setLevel(level)
