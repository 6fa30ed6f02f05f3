"""What the nodes serve while they are attacked: registers, names that are unique, and lists that only grow."""

from __future__ import annotations

from uuid import UUID

from pydantic import create_model

from quorate import App, Model, field

LISTS = 96
"""Each round has its own list, so that reading one whole stays cheap."""


class Register(Model):
    """One number, overwritten again and again."""

    key: str = field(primary_key=True, min_length=1)
    value: int


class Claim(Model):
    """A name that at most one has at a time."""

    name: str = field(primary_key=True, min_length=1)
    owner: int


def list_resource(number: int) -> str:
    """Where list ``number`` is: a table of its own, in the order in which its rows were applied."""
    return f"list-{number}"


def _list_model(number: int) -> type[Model]:
    return create_model(
        f"List{number}",
        __base__=Model,
        __cls_kwargs__={"resource": list_resource(number)},
        id=(UUID, field(primary_key=True)),
        value=(int, ...),
    )


app = App(models=[Register, Claim, *map(_list_model, range(LISTS))], title="Nemesis")
