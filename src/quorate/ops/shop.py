"""Where the example shop is, and a place for its data: what the demo and the benchmark serve."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import quorate
from quorate.errors import ConfigError

SHOP_APP = "examples.shop:app"


def shop_directory() -> Path:
    """The directory from which :data:`SHOP_APP` can be imported: a checkout's, or the one shipped in the package."""
    package = Path(quorate.__file__).parent
    for directory in (package.parent.parent, package / "shipped"):
        if (directory / "examples" / "shop.py").is_file():
            return directory
    raise ConfigError("examples/shop.py is missing from this installation; install quorate again")


@contextmanager
def data_directory(wanted: Path | None, purpose: str) -> Iterator[Path]:
    """``wanted``, made if it is missing; or a temporary directory that is removed at the end.

    Raises :class:`ConfigError` if it cannot be written to.
    """
    directory = wanted
    try:
        if directory is None:
            directory = Path(tempfile.mkdtemp(prefix=f"quorate-{purpose}-"))
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise ConfigError(f"cannot use {directory or 'a temporary directory'}: {error.strerror}") from error
    try:
        yield directory.absolute()
    finally:
        if wanted is None:
            shutil.rmtree(directory, ignore_errors=True)
