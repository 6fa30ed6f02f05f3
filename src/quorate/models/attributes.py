"""Which attributes of a field contradict each other, or its type: such a declaration fails when it is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import timedelta

from quorate.errors import ConfigError
from quorate.models.fields import Attributes, FieldGroups
from quorate.models.store.schema import Column

ON_DELETE = ("restrict", "cascade", "set_null")
RETENTION_MAX = timedelta(days=366 * 1000)
_MICROSECOND = timedelta(microseconds=1)


def check_attributes(where: str, attributes: Attributes, *, nullable: bool, has_default: bool) -> None:
    """Raises :class:`~quorate.errors.ConfigError`, beginning with ``where``, for what cannot be meant."""
    problem = (
        _of_flags(attributes)
        or _of_key(attributes)
        or _of_reference(attributes, nullable=nullable)
        or _of_history(attributes)
        or _of_storage(attributes)
        or (_of_local(attributes, has_default=has_default) if attributes.is_local else None)
    )
    if problem is not None:
        raise ConfigError(f"{where}: {problem}")


def _of_flags(attributes: Attributes) -> str | None:
    for each in fields(attributes):
        value = getattr(attributes, each.name)
        if isinstance(each.default, bool) and not isinstance(value, bool):
            return f"{each.name}={value!r} should be True or False"
    if attributes.auto_persist not in (None, True, False):
        return f"auto_persist={attributes.auto_persist!r} should be True or False"
    return None


def _of_key(attributes: Attributes) -> str | None:
    if attributes.primary_key and not attributes.expose:
        return "a primary key cannot be hidden, for it stands in the URL"
    return None


def _of_reference(attributes: Attributes, *, nullable: bool) -> str | None:
    on_delete = attributes.on_delete
    if on_delete not in ON_DELETE:
        return f"on_delete={on_delete!r} should be one of {', '.join(ON_DELETE)}"
    if attributes.foreign_key is None:
        return None if on_delete == "restrict" else f"on_delete={on_delete!r} needs a foreign_key"
    if on_delete == "set_null":
        if not nullable:
            return "on_delete='set_null' needs a field that can be None"
        if attributes.immutable:
            return "on_delete='set_null' would change a field that is immutable"
    return None


def _of_history(attributes: Attributes) -> str | None:
    retention = attributes.retention
    if retention is None:
        return None
    if not isinstance(retention, timedelta) or not _MICROSECOND <= retention <= RETENTION_MAX:
        days = RETENTION_MAX.days
        return f"retention={retention!r} should be a timedelta of more than nothing and at most {days} days"
    if not (attributes.track_history or attributes.audited):
        return "retention is for how long changes are kept: it needs track_history=True or audited=True"
    return None


def _of_storage(attributes: Attributes) -> str | None:
    if attributes.memory_only and attributes.auto_persist:
        return "auto_persist=True and memory_only=True exclude each other"
    if attributes.auto_persist is False and not attributes.memory_only:
        return "auto_persist=False: a write is on disk before it is acknowledged; memory_only=True needs no disk"
    return None


def _of_local(attributes: Attributes, *, has_default: bool) -> str | None:
    """What needs all nodes to agree on a value cannot be had for one that each node has for itself."""
    local = "memory_only=True" if attributes.memory_only else "replicate=False"
    needing = {
        "primary_key": attributes.primary_key,
        "unique": attributes.unique,
        "indexed": attributes.indexed,
        "immutable": attributes.immutable,
        "foreign_key": attributes.foreign_key is not None,
        "audited": attributes.audited,
        "track_history": attributes.track_history,
        "consistent_read": attributes.consistent_read,
    }
    for name, given in needing.items():
        if given:
            return f"{name} needs a value that all nodes agree on, which excludes {local}"
    if not has_default:
        return f"{local} needs a default: what the field is where it was not written"
    return None


def checked_groups(
    name: str, columns: tuple[Column, ...], attributes: Mapping[str, Attributes], groups: FieldGroups
) -> tuple[tuple[str, ...], ...]:
    """The groups of fields that are unique together. Raises :class:`~quorate.errors.ConfigError`."""
    by_name = {column.name: column for column in columns}
    checked: list[tuple[str, ...]] = []
    if isinstance(groups, str) or not isinstance(groups, Sequence):
        raise ConfigError(f"{name}: unique_together={groups!r} should be a list of groups of field names")
    for group in groups:
        if isinstance(group, str) or not isinstance(group, Sequence) or len(group) < 2:
            raise ConfigError(f"{name}: unique_together={group!r} should name two or more fields")
        for field_name in group:
            column = by_name.get(field_name)
            where = f"{name}.{field_name}"
            if column is None:
                raise ConfigError(f"{where}: unique_together names it, but there is no such field")
            if column.unique or column.primary_key:
                raise ConfigError(f"{where}: unique by itself, so unique_together with others says nothing")
            if column.codec.is_json:
                raise ConfigError(f"{where}: unique_together needs a single value, this one is kept as JSON")
            if attributes[field_name].is_local:
                raise ConfigError(f"{where}: not replicated, so no node can know whether it is unique")
        if len(set(group)) < len(group) or any(set(group) == set(other) for other in checked):
            raise ConfigError(f"{name}: unique_together={tuple(group)!r} names something twice")
        checked.append(tuple(group))
    return tuple(checked)
