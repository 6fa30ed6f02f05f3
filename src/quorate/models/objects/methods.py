"""What every model can do in Python: the methods of its class, and of its objects."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from quorate.node.reads import Consistency

if TYPE_CHECKING:
    from quorate.models.model import Model
    from quorate.models.objects.query import Query
    from quorate.models.objects.watching import ObjectChange
    from quorate.models.store.schema import ModelSchema


class ObjectMethods:
    """The part of :class:`~quorate.models.Model` that asks a node.

    Calls go to the node of this process that runs the model's app (``Node(config, app=app)``, or ``quorate node``). If
    there are several, ``with node.using():`` says which. They raise what a program can act on:

    - :class:`pydantic.ValidationError` for values that the model does not allow; nothing was proposed;
    - a :class:`~quorate.models.errors.ModelRefusal` (``NotFound``, ``Conflict``, ``VersionMismatch``, …): refused;
    - :class:`~quorate.errors.NotApplied`, :class:`~quorate.errors.OutcomeUnknown`: as :meth:`quorate.Node.propose`;
    - :class:`~quorate.errors.ReadUnavailable`: a read that could not be confirmed.

    Strong reads see everything that was acknowledged anywhere before; ``consistency="eventually"`` reads what this node
    has. Those that do not say are strong, unless the app's ``read_consistency`` is another and nothing that is returned
    is ``consistent_read``.
    An object at hand is a copy: it changes with what is awaited of it, and with nothing else.
    """

    __slots__ = ()

    if TYPE_CHECKING:
        __model_schema__: ClassVar[ModelSchema]

    @classmethod
    async def create(cls, **fields: Any) -> Self:
        """A new object, durable on a majority when it is returned."""
        from quorate.models.objects.changing import create

        return cast("Self", await create(cast("type[Model]", cls), fields))

    @classmethod
    async def get(cls, id: object, *, consistency: Consistency | None = None) -> Self:
        """The object with this id. Raises :class:`~quorate.models.errors.NotFound`."""
        from quorate.models.objects.reading import get

        return cast("Self", await get(cast("type[Model]", cls), id, consistency))

    @classmethod
    async def get_or_none(cls, id: object, *, consistency: Consistency | None = None) -> Self | None:
        """The object with this id, ``None`` if there is none."""
        from quorate.models.objects.reading import get_or_none

        return cast("Self | None", await get_or_none(cast("type[Model]", cls), id, consistency))

    @classmethod
    def filter(cls, **conditions: Any) -> Query[Self]:
        """The objects that meet all conditions; all objects if there are none. See :class:`Query`."""
        from quorate.models.objects.query import Query

        return cast("Query[Self]", Query.of(cast("type[Model]", cls)).filter(**conditions))

    @classmethod
    def watch(cls, *, after: int | None = None) -> AsyncGenerator[ObjectChange, None]:
        """The changes of the model's objects, as they come: each once, in the order of the log, none left out.

        ``after`` is the version behind which to begin, that of an object or of a change one was told of, on any node;
        by default the watch begins with what comes after the call to the first of them. Raises
        :class:`~quorate.models.feeds.Gone` if what comes next is not kept any more, and
        :class:`~quorate.errors.ReadUnavailable` when the node stops.
        """
        from quorate.models.objects.watching import watch

        return watch(cast("type[Model]", cls), after)

    async def update(self, *, expected_version: int | None = None, **changes: Any) -> Self:
        """Give some fields other values; the object at hand is then the stored one, and is returned.

        With ``expected_version`` only if it is of that version: :class:`~quorate.models.errors.VersionMismatch`
        otherwise.
        """
        from quorate.models.objects.changing import update

        return cast("Self", await update(cast("Model", self), changes, expected_version))

    async def delete(self, *, expected_version: int | None = None) -> None:
        """Delete the object, if need be only if it is of that version."""
        from quorate.models.objects.changing import delete

        await delete(cast("Model", self), expected_version)

    async def refresh(self, *, consistency: Consistency | None = None) -> Self:
        """Read the object again. Raises :class:`~quorate.models.errors.NotFound` if it is gone."""
        from quorate.models.objects.reading import refresh

        return cast("Self", await refresh(cast("Model", self), consistency))

    @property
    def version(self) -> int:
        """Which change of all it was that made the object what it is here: its ETag over HTTP.

        Raises :class:`RuntimeError` for an object that is not stored.
        """
        from quorate.models.objects.stored import version_of

        return version_of(cast("Model", self))

    @property
    def is_stored(self) -> bool:
        """Whether the object was read or created, and not just made by hand."""
        from quorate.models.objects.stored import is_stored

        return is_stored(cast("Model", self))


RESERVED = frozenset(name for name in vars(ObjectMethods) if not name.startswith("_")) | {"expected_version"}
"""Names that no field and no event can have."""
