"""Changes of declarations that a new default cannot express: each says what becomes of what is stored.

::

    App(models=[Product], migrations=[RenameField("Product", "title", "name")])

The version of an app's schema is the number of its migrations; the list only ever grows. They are carried out at one
place in the log, so on every node between the same two commands. What functions are given, and return, are values as
the model's fields have them in Python; a field that is kept as JSON comes as the plain data of that. They must be pure.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from quorate.errors import ConfigError
from quorate.models.names import table_name
from quorate.models.store.columns import SqlValue
from quorate.models.store.forms import Form, Record
from quorate.models.store.loading import plain_loader
from quorate.models.store.schema import Column


class Stored(NamedTuple):
    """A value in stored form, and its recorded type."""

    type: str
    value: SqlValue

    def meaning(self) -> Any:
        """The value as Python has it."""
        load = plain_loader(self.type)
        return self.value if self.value is None or load is None else load(self.value)


Fields = dict[str, Any]
"""Values of some fields of an object: :class:`Stored` as long as no migration has touched them."""


def meaning(value: Any) -> Any:
    """What a value of :data:`Fields` is in Python."""
    return value.meaning() if isinstance(value, Stored) else value


def encoded(column: Column, value: Any) -> SqlValue:
    """The stored form of a value of :data:`Fields`. Raises whatever comes of one that does not fit."""
    if isinstance(value, Stored) and value.type == column.codec.name:
        return value.value
    value = meaning(value)
    return None if value is None else column.codec.encode(value)


class Migration(ABC):
    """One step from a version of the schema to the next, of one model."""

    model: str

    @abstractmethod
    def declare(self, form: Form) -> None:
        """Change the declarations. Raises :class:`ConfigError` if there is nothing to change.

        Whatever of a column or a model is ``open`` afterwards is as the app declares it.
        """

    def change(self, fields: Fields, *, is_whole: bool) -> None:
        """Change the values of one object; not ``is_whole``, those of some of its fields, each by itself."""

    def record(self, form: Form) -> Record:
        """The model's, marked as changed. Raises :class:`ConfigError`."""
        found = form.get(self.model)
        if found is None:
            raise ConfigError(f"{self}: there is no model {self.model} then")
        found["changed"] = True
        return found

    def column(self, form: Form, name: str) -> Record:
        """One of its columns. Raises :class:`ConfigError`."""
        for column in self.record(form)["columns"]:
            if column["name"] == name:
                found: Record = column
                return found
        raise ConfigError(f"{self}: {self.model} has no field {name} then")


@dataclass(frozen=True)
class RenameField(Migration):
    """The field ``was`` is called ``now``."""

    model: str
    was: str
    now: str

    def declare(self, form: Form) -> None:
        column, record = self.column(form, self.was), self.record(form)
        if any(each["name"] == self.now for each in record["columns"]):
            raise ConfigError(f"{self}: {self.model} has a field {self.now} already")
        column["name"] = self.now
        record["unique_together"] = sorted(
            [self.now if name == self.was else name for name in group] for group in record["unique_together"]
        )
        if column["primary_key"]:
            _rename_target(form, f"{self.model}.{self.was}", f"{self.model}.{self.now}")

    def change(self, fields: Fields, *, is_whole: bool) -> None:
        if self.was in fields:
            fields[self.now] = fields.pop(self.was)


@dataclass(frozen=True)
class RemoveField(Migration):
    """A field and its values go."""

    model: str
    field: str

    def declare(self, form: Form) -> None:
        column, record = self.column(form, self.field), self.record(form)
        if column["primary_key"]:
            raise ConfigError(f"{self}: a primary key cannot be removed")
        record["columns"].remove(column)
        record["unique_together"] = [group for group in record["unique_together"] if self.field not in group]

    def change(self, fields: Fields, *, is_whole: bool) -> None:
        fields.pop(self.field, None)


@dataclass(frozen=True)
class AddField(Migration):
    """A field is added whose values are not all alike: ``value`` makes it of the object's other fields."""

    model: str
    field: str
    value: Callable[[Mapping[str, Any]], Any]

    def declare(self, form: Form) -> None:
        record = self.record(form)
        if any(each["name"] == self.field for each in record["columns"]):
            raise ConfigError(f"{self}: {self.model} has a field {self.field} already")
        record["columns"].append({"name": self.field, "primary_key": False, "type": None, "open": True, "was": None})

    def change(self, fields: Fields, *, is_whole: bool) -> None:
        if is_whole:
            fields[self.field] = self.value({name: meaning(value) for name, value in fields.items()})


@dataclass(frozen=True)
class ChangeField(Migration):
    """What a field is declared as changes (unique, immutable, None allowed, its history); its values stay."""

    model: str
    field: str

    def declare(self, form: Form) -> None:
        self.column(form, self.field)["open"] = True


@dataclass(frozen=True)
class ChangeType(Migration):
    """A field gets another type, and whatever else it is declared as.

    ``convert`` is given each value, ``None`` too where the field may be that.
    """

    model: str
    field: str
    convert: Callable[[Any], Any]

    def declare(self, form: Form) -> None:
        column = self.column(form, self.field)
        if column["primary_key"]:
            raise ConfigError(f"{self}: a primary key keeps its type")
        column.update(open=True, type=None, was=None)

    def change(self, fields: Fields, *, is_whole: bool) -> None:
        if self.field in fields:
            value = meaning(fields[self.field])
            # Of a part of an object, None is what there was before or behind it.
            fields[self.field] = self.convert(value) if is_whole or value is not None else None


@dataclass(frozen=True)
class ChangeModel(Migration):
    """Other fields are unique together."""

    model: str

    def declare(self, form: Form) -> None:
        self.record(form)["open"] = True


@dataclass(frozen=True)
class RenameModel(Migration):
    """The model ``model`` is called ``now``."""

    model: str
    now: str

    def declare(self, form: Form) -> None:
        record = self.record(form)
        if self.now in form:
            raise ConfigError(f"{self}: there is a model {self.now} already")
        record["table"] = table_name(self.now)
        form[self.now] = form.pop(self.model)
        for column in record["columns"]:
            if column["primary_key"]:
                _rename_target(form, f"{self.model}.{column['name']}", f"{self.now}.{column['name']}")


@dataclass(frozen=True)
class RemoveModel(Migration):
    """A model goes with all its objects. Fields that refer to it are removed before, or refer to another then."""

    model: str

    def declare(self, form: Form) -> None:
        self.record(form)
        del form[self.model]


def _rename_target(form: Form, was: str, now: str) -> None:
    for record in form.values():
        for column in record["columns"]:
            target, _, on_delete = (column.get("references") or "").partition(" ")
            if target == was:
                column["references"] = f"{now} {on_delete}"
