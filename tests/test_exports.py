"""What ``quorate`` and its test kit offer by name: sorted, there, and documented."""

from __future__ import annotations

import inspect
from types import ModuleType

import pytest

import quorate
import quorate.storage
import quorate.tasks.client
import quorate.tasks.daemon
import quorate.tasks.worker
import quorate.testing
import quorate.testing.linearizability
import quorate.testing.simulation
import quorate.transport

MODULES = [
    quorate,
    quorate.storage,
    quorate.tasks.client,
    quorate.tasks.daemon,
    quorate.tasks.worker,
    quorate.testing,
    quorate.testing.linearizability,
    quorate.testing.simulation,
    quorate.transport,
]
by_name = pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)


@by_name
def test_the_names_are_sorted_and_there(module: ModuleType) -> None:
    names = [name for name in module.__all__ if not name.startswith("__")]
    # As ruff sorts them: constants, then classes, then the rest.
    assert names == sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        assert hasattr(module, name), name


@by_name
def test_every_class_and_function_is_documented(module: ModuleType) -> None:
    for name in module.__all__:
        thing = getattr(module, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert thing.__doc__, name


def test_nothing_public_is_left_out() -> None:
    public = {
        name for name in dir(quorate) if not name.startswith("_") and not isinstance(getattr(quorate, name), ModuleType)
    }
    assert public - {"annotations"} == {name for name in quorate.__all__ if not name.startswith("_")}


def test_every_error_is_in_the_tree_that_its_module_draws() -> None:
    from quorate import errors

    drawn = errors.__doc__ or ""
    for name, thing in vars(errors).items():
        if inspect.isclass(thing) and issubclass(thing, Exception):
            assert name in drawn
            assert issubclass(thing, errors.QuorateError)
