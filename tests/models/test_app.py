"""The App: a set of models that holds together, and how a node finds it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from uuid import UUID

import pytest

from quorate.app import App, load_app
from quorate.errors import ConfigError
from quorate.models import Model, field

from .shop import Category, Product

ROOT = Path(__file__).parents[2]


def test_models_are_found_by_resource_and_ordered_by_reference() -> None:
    app = App(models=[Product, Category], title="Shop")
    assert app.models == (Product, Category)
    assert [schema.name for schema in app.schemas] == ["Category", "Product"]
    assert dict(app.resources) == {"products": Product, "categories": Category}
    assert app.schema_fingerprint == App(models=[Category, Product]).schema_fingerprint
    assert repr(app) == "App(models=[Product, Category], title='Shop')"
    assert App().schemas == ()


def test_a_foreign_keys_model_must_be_in_the_app() -> None:
    with pytest.raises(ConfigError, match=r"Product\.category_id: its foreign key's model Category is not in the App"):
        App(models=[Product])


def test_names_and_resources_are_unique() -> None:
    def twin(resource: str | None) -> type[Model]:
        class Category(Model, resource=resource):
            id: UUID = field(primary_key=True)

        return Category

    class Group(Model, resource="categories"):
        id: UUID = field(primary_key=True)

    with pytest.raises(ConfigError, match="the models Category and Category have the same name 'Category'"):
        App(models=[Category, twin("others")])
    with pytest.raises(ConfigError, match="the models Category and Group have the same resource 'categories'"):
        App(models=[Category, Group])
    with pytest.raises(ConfigError, match="same name"):
        App(models=[Category, Category])


def test_a_namesake_of_a_foreign_keys_model_does_not_pass_for_it() -> None:
    class Category(Model):  # not the one that Product refers to
        id: UUID = field(primary_key=True)

    with pytest.raises(ConfigError, match=r"Product\.category_id: .* is not in the App"):
        App(models=[Category, Product])


@pytest.mark.parametrize("wrong", [Model, int, "Product", None])
def test_only_models_are_models(wrong: object) -> None:
    with pytest.raises(ConfigError, match="is not a model"):
        App(models=[wrong])  # type: ignore[list-item]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


@pytest.mark.parametrize(
    ("target", "source", "message"),
    [
        ("nowhere_here:app", None, "nowhere_here:app: there is no module nowhere_here here"),
        ("declared_a.shop:app", None, "declared_a.shop:app: there is no module declared_a here"),
        ("declared_a", None, "'declared_a' does not name an app; write module:attribute, as in examples.shop:app"),
        ("declared_a:", None, "'declared_a:' does not name an app"),
        ("../a:app", None, "'../a:app' does not name an app"),
        ("declared_b:app", "x = 1", "declared_b:app: the module declared_b has no attribute app"),
        ("declared_c:app", "app = 1", "declared_c:app: is a int, not a quorate.App"),
        (
            "declared_i:Car",
            "from quorate import Model, field\nclass Car(Model):\n    id: int = field(primary_key=True)",
            "declared_i:Car: is a class, not a quorate.App",
        ),
        ("declared_d:app", "1 / 0", "declared_d:app: importing declared_d failed with ZeroDivisionError: division"),
        ("declared_e:app", "import not_installed", "declared_e:app: importing declared_e failed with ModuleNotFound"),
        ("declared_f:app", "def f(:", "declared_f:app: importing declared_f failed with SyntaxError"),
        (
            "declared_g:app",
            "from quorate.models import Model\nclass Thing(Model):\n    x: int",
            "declared_g:app: Thing: no primary key; give one field primary_key=True",
        ),
    ],
)
def test_a_target_that_is_no_app_is_one_clear_line(
    directory: Path, target: str, source: str | None, message: str
) -> None:
    if source is not None:
        (directory / f"{target.partition(':')[0]}.py").write_text(source)
    with pytest.raises(ConfigError) as error:
        load_app(target)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_an_app_is_loaded_from_the_working_directory(directory: Path) -> None:
    source = """
        from __future__ import annotations
        from uuid import UUID
        from quorate.app import App
        from quorate.models import Model, field

        class Thing(Model):
            id: UUID = field(primary_key=True)
            parent_of_all: Thing | None = None if False else None

        """.replace("    parent_of_all: Thing | None = None if False else None\n", "")
    (directory / "declared_ok.py").write_text(dedent(source) + "app = App(models=[Thing])\n")
    assert [model.__name__ for model in load_app("declared_ok:app").models] == ["Thing"]


def test_the_shop_example_can_be_loaded() -> None:
    code = "from quorate.app import load_app; print(sorted(load_app('examples.shop:app').resources))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("['categories', 'products']\n", "")
