"""What holds for all tests."""

from __future__ import annotations

import os
import sys

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
