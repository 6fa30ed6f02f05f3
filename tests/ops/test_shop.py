"""The shop is found everywhere, and its data has a place."""

from __future__ import annotations

from pathlib import Path

import pytest

import quorate
from quorate.errors import ConfigError
from quorate.ops import shop


def test_the_shop_is_found_in_a_checkout() -> None:
    assert (shop.shop_directory() / "examples" / "shop.py").is_file()


def test_the_shop_is_found_in_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages" / "quorate"
    monkeypatch.setattr(quorate, "__file__", str(package / "__init__.py"))
    with pytest.raises(ConfigError, match="missing"):
        shop.shop_directory()
    shipped = package / "shipped" / "examples" / "shop.py"
    shipped.parent.mkdir(parents=True)
    shipped.touch()
    assert shop.shop_directory() == package / "shipped"


def test_a_temporary_directory_is_removed() -> None:
    with shop.data_directory(None, "test") as directory:
        (directory / "file").touch()
    assert not directory.exists()


def test_a_wanted_directory_is_made_and_kept(tmp_path: Path) -> None:
    with shop.data_directory(tmp_path / "a" / "b", "test") as directory:
        (directory / "file").touch()
    assert (tmp_path / "a" / "b" / "file").exists()


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(ConfigError, match="file/data: Not a directory"),
        shop.data_directory(tmp_path / "file" / "data", "test"),
    ):
        pass
