"""Digests of what a declaration asks of values, and of the code in it: what its form does not say.

Each field with limits or validators has one, each validator and each event of the class, and the model's configuration
if it is its own. They are made of the declarations and of source text, not of byte code or of what pydantic makes of
them, so that they are the same in every version of Python. Comments, layout and docstrings do not count. What the
code calls is not looked at, nor is code whose source is not at hand: of that the name alone counts.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import re
import textwrap
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import partial
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from quorate.models.annotations import is_typed_dict
from quorate.models.fields import Attributes
from quorate.models.store.schema import EventMethod
from quorate.models.validators import Form

DIGEST_CHARACTERS = 16
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_UNSAID_CONFIG = ("title", "json_schema_extra", "defer_build", "ignored_types")
"""What of a model's configuration is no rule."""


def digests_of(model: type[BaseModel], events: Iterable[EventMethod]) -> dict[str, str]:
    """The digest of each field, validator and event of the class by its name; nothing for what has no rules."""
    rules: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        rules[name] = [_of_type(info.annotation), *_of_all(info.metadata)]
        if len(rules[name]) == 1 and isinstance(rules[name][0], str):
            del rules[name]  # the type alone, which the form says
    rules |= {name: _of_code(function) for name, function in _validators(model)}
    for event in events:
        arguments = {name: _of_field(info) for name, info in event.arguments.model_fields.items()}
        rules[event.name] = [_of_code(event.function), arguments]
    config = _own_config(model)
    if config:
        rules["model_config"] = config
    return {name: _digest(rule) for name, rule in rules.items()}


def _digest(rule: Any) -> str:
    return hashlib.sha256(json.dumps(rule, sort_keys=True).encode()).hexdigest()[:DIGEST_CHARACTERS]


def _own_config(model: type[BaseModel]) -> dict[str, Any]:
    from quorate.models.model import Model

    usual = Model.model_config
    return {
        name: _of(value)
        for name, value in model.model_config.items()
        if name not in _UNSAID_CONFIG and value != usual.get(name)
    }


def _validators(model: type[BaseModel]) -> Iterator[tuple[str, Callable[..., Any]]]:
    declared = model.__pydantic_decorators__
    for group in (declared.field_validators, declared.model_validators, declared.validators, declared.root_validators):
        for name, decorator in group.items():
            yield name, decorator.func
    if model.__pydantic_post_init__ and model.model_post_init.__module__ != BaseModel.__module__:
        yield "model_post_init", model.model_post_init


# -- plain data that says what a rule is ----------------------------------------------------------------------


def _of(value: Any) -> Any:
    """A limit, a validator or an option as plain data."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Form):
        return value.rule
    if isinstance(value, FieldInfo):
        return _of_all(value.metadata)
    if isinstance(value, Enum):
        return _of(value.value)
    if isinstance(value, partial):
        return ["partial", _of(value.func), _of(value.args), _of(value.keywords)]
    if isinstance(value, Mapping):
        return {str(name): _of(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_of(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted(map(_of, value), key=json.dumps)
    if isinstance(value, type) or get_origin(value) is not None:
        return _of_type(value)
    if callable(value) and hasattr(value, "__qualname__"):
        return _of_code(value)
    if is_dataclass(value):
        parts = {each.name: getattr(value, each.name) for each in fields(value)}
    elif getattr(value, "__dict__", None):
        parts = vars(value)
    else:
        return f"{type(value).__name__} {_ADDRESS.sub('', str(value))}"
    said = {name: _of(part) for name, part in parts.items() if part is not None}
    return [type(value).__name__, said] if "func" in parts else said  # limits have names of their own


def _of_all(metadata: Iterable[object]) -> list[Any]:
    """Limits in an order of their own, and behind them the validators, whose order counts."""
    rules = [_of(each) for each in metadata if not isinstance(each, Attributes)]
    limits = [rule for rule in rules if not isinstance(rule, list)]
    return [*sorted(limits, key=json.dumps), *(rule for rule in rules if isinstance(rule, list))]


def _of_field(info: FieldInfo, seen: tuple[Any, ...] = ()) -> list[Any]:
    """What is asked of a part of a value, whose default is in no form."""
    return [_of_type(info.annotation, seen), _of(info.default), *_of_all(info.metadata)]


def _of_type(annotation: Any, seen: tuple[Any, ...] = ()) -> Any:
    """The name of a type, or more where there is more to it than its name."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return [_of_type(arguments[0], seen), *_of_all(arguments[1:])]
    if origin is Literal:
        return ["Literal", *map(_of, arguments)]
    if origin in (Union, types.UnionType):
        members = [_of_type(each, seen) for each in arguments if each is not type(None)]
        return members[0] if len(members) == 1 else ["Union", *members]
    if origin is not None:
        return [_name(origin), *(_of_type(each, seen) for each in arguments)]
    if not isinstance(annotation, type) or annotation in seen:
        return _name(annotation)
    if issubclass(annotation, Enum):
        return ["Enum", *(_of(each.value) for each in annotation)]
    seen = (*seen, annotation)
    if issubclass(annotation, BaseModel):
        parts = {name: _of_field(info, seen) for name, info in annotation.model_fields.items()}
        return [_name(annotation), parts, {name: _of_code(code) for name, code in _validators(annotation)}]
    if is_typed_dict(annotation):
        hints = get_type_hints(annotation, include_extras=True)
        return [_name(annotation), {name: _of_type(each, seen) for name, each in hints.items()}]
    return _name(annotation)


def _name(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


# -- code -----------------------------------------------------------------------------------------------------


def _of_code(function: Callable[..., Any]) -> Any:
    """What the source says, decorators included; the name where there is no source."""
    function = inspect.unwrap(getattr(function, "__func__", function))
    try:
        source = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        return function.__name__
    try:
        return _of_node(ast.parse(source))
    except SyntaxError:  # a part of an expression, such as a lambda on a line of its own
        return source.split()


def _of_node(node: Any) -> Any:
    """A syntax tree as plain data. What is empty is left out: later versions of Python add members that mostly are."""
    if isinstance(node, list):
        return [_of_node(each) for each in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    parts = dict(ast.iter_fields(node))
    if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node, clean=False) is not None:
        parts["body"] = parts["body"][1:]
    return [type(node).__name__, {name: _of_node(part) for name, part in parts.items() if part not in (None, [])}]
