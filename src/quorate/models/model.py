"""``Model``: the class that users declare their replicated data with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Unpack, dataclass_transform

from pydantic import BaseModel, ConfigDict
from pydantic.errors import PydanticUserError

from quorate.errors import ConfigError
from quorate.models.domain_events import DomainEvent
from quorate.models.fields import FieldGroups, field
from quorate.models.objects.methods import RESERVED, ObjectMethods
from quorate.models.objects.stored import is_stored

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass

    from quorate.models.store.schema import ModelSchema
else:
    ModelMetaclass = type(BaseModel)


class _Declaration(ModelMetaclass):
    """Turns pydantic's complaints about a class body into ours, so that all bad declarations fail alike."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **keywords: Any) -> type:
        _check_names(name, namespace)
        try:
            return super().__new__(mcs, name, bases, namespace, **keywords)
        except PydanticUserError as error:
            raise ConfigError(f"{name}: {error.message}") from error


def _check_names(name: str, namespace: dict[str, Any]) -> None:
    for attribute in namespace.get("__annotations__", ()):
        if attribute in RESERVED:
            raise ConfigError(f"{name}.{attribute}: no field can have the name of what every model has")
    for attribute, value in namespace.items():
        if isinstance(value, DomainEvent) and (attribute in RESERVED or hasattr(BaseModel, attribute)):
            raise ConfigError(f"{name}.{attribute}: no event can have the name of what every model has")


@dataclass_transform(kw_only_default=True, field_specifiers=(field,))
class Model(ObjectMethods, BaseModel, metaclass=_Declaration):
    """A kind of object that is replicated to every node and served as a REST resource.

    ::

        class Product(Model):
            id: UUID = field(primary_key=True)
            name: str = field(unique=True, min_length=1)

    Its resource is the plural of its name in kebab case (``Product`` → ``products``) unless the class says
    ``class Person(Model, resource="people")``. Fields that are unique together are named in the same place:
    ``class Seat(Model, unique_together=[("row", "number")])``. Unknown fields are refused. Validators may be added as
    with pydantic; they must be pure functions of the object, for every node runs them on its own.

    A declaration that cannot be kept raises :class:`~quorate.errors.ConfigError`, naming model and field.
    """

    # Built at the end of the declaration, once the attributes of the fields are known.
    model_config = ConfigDict(
        extra="forbid",
        allow_inf_nan=False,
        ser_json_bytes="base64",
        val_json_bytes="base64",
        validate_default=True,
        defer_build=True,
        ignored_types=(DomainEvent,),
    )
    __slots__ = ("__quorate_version__",)  # see quorate.models.objects.stored
    __model_schema__: ClassVar[ModelSchema]

    def __init_subclass__(
        cls, *, resource: str | None = None, unique_together: FieldGroups = (), **keywords: Unpack[ConfigDict]
    ) -> None:
        super().__init_subclass__(**keywords)  # declares the keywords; used once pydantic has found the fields

    @classmethod
    def __pydantic_init_subclass__(
        cls, *, resource: str | None = None, unique_together: FieldGroups = (), **keywords: Any
    ) -> None:
        from quorate.models.declaration import compile_model

        super().__pydantic_init_subclass__(**keywords)
        cls.__model_schema__ = compile_model(cls, resource, unique_together)

    if not TYPE_CHECKING:

        def __setattr__(self, name: str, value: Any) -> None:
            if name in type(self).model_fields and is_stored(self):
                kind = type(self).__name__
                raise AttributeError(f"a stored {kind} changes with update(), or in an event: {name} was set by hand")
            super().__setattr__(name, value)


def schema_of(model: type[Model]) -> ModelSchema:
    """The compiled declaration of a model."""
    return model.__model_schema__
