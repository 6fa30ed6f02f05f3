"""What is parametrized over all storage tests that ask for it."""

from __future__ import annotations

import pytest

from quorate.storage import BINARY, JSON_LINES, Codec, StorageSettings


@pytest.fixture(scope="session", params=[BINARY, JSON_LINES], ids=lambda codec: str(codec.name))
def codec(request: pytest.FixtureRequest) -> Codec:
    """Both forms of the log (A2.59, A2.60): what is promised holds for each."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def stored(codec: Codec) -> StorageSettings:
    """The durable settings with this form."""
    return StorageSettings(enable_binary=codec is BINARY)
