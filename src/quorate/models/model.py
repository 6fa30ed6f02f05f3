"""``Model``: the class that users declare their replicated data with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Unpack, dataclass_transform

from pydantic import BaseModel, ConfigDict
from pydantic.errors import PydanticUserError

from quorate.errors import ConfigError
from quorate.models.fields import field

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass

    from quorate.models.store.schema import ModelSchema
else:
    ModelMetaclass = type(BaseModel)


class _Declaration(ModelMetaclass):
    """Turns pydantic's complaints about a class body into ours, so that all bad declarations fail alike."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **keywords: Any) -> type:
        try:
            return super().__new__(mcs, name, bases, namespace, **keywords)
        except PydanticUserError as error:
            raise ConfigError(f"{name}: {error.message}") from error


@dataclass_transform(kw_only_default=True, field_specifiers=(field,))
class Model(BaseModel, metaclass=_Declaration):
    """A kind of object that is replicated to every node and served as a REST resource.

    ::

        class Product(Model):
            id: UUID = field(primary_key=True)
            name: str = field(unique=True, min_length=1)

    Its resource is the plural of its name in kebab case (``Product`` → ``products``) unless the class says
    ``class Person(Model, resource="people")``. Unknown fields are refused. Validators may be added as with
    pydantic; they must be pure functions of the object, for every node runs them on its own.

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
    )
    __model_schema__: ClassVar[ModelSchema]

    def __init_subclass__(cls, *, resource: str | None = None, **keywords: Unpack[ConfigDict]) -> None:
        super().__init_subclass__(**keywords)  # declares the keyword; used once pydantic has found the fields

    @classmethod
    def __pydantic_init_subclass__(cls, *, resource: str | None = None, **keywords: Any) -> None:
        from quorate.models.declaration import compile_model

        super().__pydantic_init_subclass__(**keywords)
        cls.__model_schema__ = compile_model(cls, resource)


def schema_of(model: type[Model]) -> ModelSchema:
    """The compiled declaration of a model."""
    return model.__model_schema__
