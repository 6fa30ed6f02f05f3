"""From a class body to a :class:`~quorate.models.store.schema.ModelSchema`, refusing what cannot be kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, ForwardRef
from uuid import UUID

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, SchemaError

from quorate.errors import ConfigError
from quorate.models.annotations import (
    SUPPORTED,
    annotated,
    can_be_key,
    codec_of,
    is_typed_dict,
    misplaced_constraint,
    value_type,
)
from quorate.models.attributes import check_attributes, checked_groups
from quorate.models.domain_events import event_methods
from quorate.models.fields import Attributes, FieldGroups
from quorate.models.limits import contradiction
from quorate.models.model import Model, schema_of
from quorate.models.names import RESOURCE, resource_name, table_name
from quorate.models.store.columns import KEY_TEXT, TEXT, Codec, SqlValue, Unstorable
from quorate.models.store.schema import NO_DEFAULT, Column, ForeignKey, ModelSchema
from quorate.models.validators import Form, constraints

_FIXED_CONFIG = (
    "extra", "allow_inf_nan", "ser_json_bytes", "val_json_bytes", "validate_default", "defer_build", "ignored_types",
)  # fmt: skip


def compile_model(model: type[Model], resource: str | None, unique_together: FieldGroups) -> ModelSchema:
    """Check the declaration of ``model``, finish its pydantic schema and describe it for the store."""
    name = model.__name__
    _check_class(model)
    if resource is None:
        resource = resource_name(name)
    if not isinstance(resource, str) or not RESOURCE.fullmatch(resource):
        raise ConfigError(f"{name}: resource={resource!r} should be lower-case words joined by - or _")
    for field_name, info in model.model_fields.items():
        _add_constraints(f"{name}.{field_name}", info)
    _build(model)
    columns = _with_self_references(
        name, tuple(_column(model, field_name, info) for field_name, info in model.model_fields.items())
    )
    _check_columns(name, columns)
    attributes = {field_name: Attributes.of(info) for field_name, info in model.model_fields.items()}
    return ModelSchema(
        name=name,
        resource=resource,
        table=table_name(name),
        model=model,
        columns=tuple(column for column in columns if not attributes[column.name].is_local),
        has_rules=_has_rules(model),
        events=event_methods(model),
        unique_together=checked_groups(name, columns, attributes, unique_together),
        local_columns=tuple(column for column in columns if attributes[column.name].is_local),
        memory_only=frozenset(field_name for field_name, each in attributes.items() if each.memory_only),
    )


def _check_class(model: type[Model]) -> None:
    name, changed = model.__name__, model.model_config
    for key in _FIXED_CONFIG:
        if changed.get(key) != Model.model_config.get(key):
            raise ConfigError(f"{name}: model_config may not change {key}")
    decorators = model.__pydantic_decorators__
    for kind, found in (
        ("computed field", decorators.computed_fields),
        ("field serializer", decorators.field_serializers),
        ("model serializer", decorators.model_serializers),
    ):
        for attribute in found:
            raise ConfigError(f"{name}.{attribute}: a {kind} is not supported, the stored value is what is served")
    for attribute in model.__class_vars__:
        if isinstance(getattr(model, attribute, None), FieldInfo):
            raise ConfigError(f"{name}.{attribute}: a ClassVar belongs to the class and is no field")
    for field_name, info in model.model_fields.items():
        where = f"{name}.{field_name}"
        if info.alias is not None or info.validation_alias is not None or info.serialization_alias is not None:
            raise ConfigError(f"{where}: aliases are not supported")
        if info.default_factory is not None:
            raise ConfigError(f"{where}: default_factory is not supported, for a retried request must mean the same")
        if info.exclude or info.frozen or info.init is False:
            raise ConfigError(f"{where}: exclude, frozen and init are not supported")


def _add_constraints(where: str, info: FieldInfo) -> None:
    """Translate the named validators, and give a UUID primary key its way to be missing."""
    attributes = Attributes.of(info)
    bare, _ = value_type(info.annotation)
    if isinstance(bare, ForwardRef):
        raise ConfigError(f"{where}: its type {bare.__forward_arg__} is not defined (yet)")
    misplaced = misplaced_constraint(bare, info.metadata)
    if misplaced is not None:
        raise ConfigError(f"{where}: {misplaced} means nothing for the type {_type_name(bare)}")
    metadata = list(info.metadata)  # a class that this one was derived from may have the same list
    for rule in () if attributes.is_translated else attributes.validate:
        try:
            added = constraints(rule, bare)
        except ValueError as error:
            raise ConfigError(f"{where}: {error}") from None
        for attribute in _limits(added):
            if attribute in _limits(metadata):
                raise ConfigError(f"{where}: validate={rule!r} and {attribute} limit the same thing, give one")
        metadata.extend(added)
    metadata.sort(key=lambda item: isinstance(item, Form))  # pydantic's own do not reach a None behind them
    info.metadata = [replace(item, is_translated=True) if item is attributes else item for item in metadata]
    wrong = contradiction(bare, info.metadata)
    if wrong is not None:
        raise ConfigError(f"{where}: {wrong}")
    if attributes.primary_key and bare is UUID and info.default is PydanticUndefined:
        info.default, info.validate_default = None, False


def _limits(metadata: Sequence[object]) -> list[str]:
    """The names of the limits among some constraints."""
    names = ("ge", "le", "min_length", "max_length", "pattern")
    return [name for name in names if any(getattr(item, name, None) is not None for item in metadata)]


def _build(model: type[Model]) -> None:
    try:
        complete = model.model_rebuild(force=True)
    except (PydanticUserError, SchemaError, NameError, TypeError, ValueError) as error:
        for name, info in model.model_fields.items():
            _try_field(f"{model.__name__}.{name}", info)
        raise ConfigError(f"{model.__name__}: {_reason(error)}") from error
    if not complete:
        raise ConfigError(f"{model.__name__}: the type of a field is not defined yet")


def _try_field(where: str, info: FieldInfo) -> None:
    """Find out whether this is the field that cannot be built."""
    if codec_of(value_type(info.annotation)[0], info.metadata) is None:
        raise ConfigError(f"{where}: the type {_type_name(info.annotation)} is not supported; use {SUPPORTED}")
    try:
        _adapter(info)
    except (PydanticUserError, SchemaError, NameError, TypeError, ValueError) as error:
        raise ConfigError(f"{where}: {_reason(error)}") from error


def _adapter(info: FieldInfo) -> TypeAdapter[Any]:
    bare, _ = value_type(info.annotation)
    own_config = is_typed_dict(bare) or (isinstance(bare, type) and issubclass(bare, BaseModel))
    return TypeAdapter(annotated(info), config=None if own_config else Model.model_config | {"defer_build": False})


def _column(model: type[Model], name: str, info: FieldInfo) -> Column:
    where = f"{model.__name__}.{name}"
    attributes = Attributes.of(info)
    bare, nullable = value_type(info.annotation)
    codec = None if bare in (None, type(None)) else codec_of(bare, info.metadata)
    if codec is None:
        raise ConfigError(f"{where}: the type {_type_name(info.annotation)} is not supported; use {SUPPORTED}")
    if codec.is_json:
        for flag in ("unique", "indexed"):
            if getattr(attributes, flag):
                raise ConfigError(f"{where}: {flag} needs a single value, this one is kept as JSON")
    check_attributes(where, attributes, nullable=nullable, has_default=info.default is not PydanticUndefined)
    if attributes.primary_key:
        if not can_be_key(codec) or nullable:
            raise ConfigError(f"{where}: a primary key is of type UUID, str or int and never None")
        if attributes.foreign_key is not None:
            raise ConfigError(f"{where}: a primary key cannot be a foreign key")
        if info.default is not PydanticUndefined and info.default is not None:
            raise ConfigError(f"{where}: a primary key cannot have a default, it must differ for each object")
        codec = KEY_TEXT if codec is TEXT else codec
    return Column(
        name=name,
        codec=codec,
        nullable=nullable,
        default=NO_DEFAULT if attributes.primary_key else _default(where, info, codec),
        primary_key=attributes.primary_key,
        unique=attributes.unique and not attributes.primary_key,
        indexed=(attributes.indexed or attributes.foreign_key is not None) and not attributes.unique,
        immutable=attributes.immutable and not attributes.primary_key,
        references=_references(where, attributes, codec),
        tracked=attributes.track_history,
        audited=attributes.audited,
        retention_us=None if attributes.retention is None else attributes.retention // timedelta(microseconds=1),
        exposed=attributes.expose,
        consistent_read=attributes.consistent_read,
    )


def _default(where: str, info: FieldInfo, codec: Codec) -> SqlValue | Any:
    if info.default is PydanticUndefined:
        return NO_DEFAULT
    try:
        value = _adapter(info).validate_python(info.default)
        return None if value is None else codec.encode(value)
    except ValidationError as error:
        raise ConfigError(f"{where}: default={info.default!r}: {error.errors()[0]['msg']}") from None
    except Unstorable as error:
        raise ConfigError(f"{where}: default={info.default!r}: {error.message}") from None


def _references(where: str, attributes: Attributes, codec: Codec) -> ForeignKey | None:
    target = attributes.foreign_key
    if target is None:
        return None
    if target == "self":
        return ForeignKey(model="", table="", column="", on_delete=attributes.on_delete, target=None)
    if not isinstance(target, type) or not issubclass(target, Model) or target is Model:
        raise ConfigError(f"{where}: foreign_key={_type_name(target)} is not a model")
    schema = schema_of(target)
    if schema.key.codec.name != codec.name:
        raise ConfigError(
            f"{where}: its type is {codec.name}, but the primary key of {schema.name} is {schema.key.codec.name}"
        )
    return ForeignKey(
        model=schema.name,
        table=schema.table,
        column=schema.key.name,
        on_delete=attributes.on_delete,
        target=schema,
    )


def _with_self_references(name: str, columns: tuple[Column, ...]) -> tuple[Column, ...]:
    """The columns, those that refer to the model itself completed by its name and its key."""
    key = next((column for column in columns if column.primary_key), None)
    completed = []
    for column in columns:
        references = column.references
        if references is not None and references.target is None and key is not None:
            if key.codec.name != column.codec.name:
                raise ConfigError(
                    f"{name}.{column.name}: its type is {column.codec.name}, but the primary key is {key.codec.name}"
                )
            own = replace(references, model=name, table=table_name(name), column=key.name)
            column = replace(column, references=own)
        completed.append(column)
    return tuple(completed)


def _check_columns(name: str, columns: tuple[Column, ...]) -> None:
    keys = [column.name for column in columns if column.primary_key]
    if not keys:
        raise ConfigError(f"{name}: no primary key; give one field primary_key=True")
    if len(keys) > 1:
        raise ConfigError(f"{name}.{keys[1]}: a second primary key beside {keys[0]}")
    seen: dict[str, str] = {}
    for column in columns:
        twin = seen.setdefault(column.name.lower(), column.name)
        if twin != column.name:
            raise ConfigError(f"{name}.{column.name}: differs from {twin} only in case")


def _has_rules(model: type[Model]) -> bool:
    decorators = model.__pydantic_decorators__
    return bool(
        decorators.field_validators
        or decorators.validators
        or decorators.model_validators
        or decorators.root_validators
        or model.__pydantic_post_init__
    )


def _type_name(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _reason(error: BaseException) -> str:
    """The line of pydantic's explanation that says what is wrong."""
    if isinstance(error, PydanticUserError):
        return error.message
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
