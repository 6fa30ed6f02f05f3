"""A2.24: several fields that are unique together, whoever writes them and however."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from quorate.models import Model, field
from quorate.models.commands import Create
from quorate.models.errors import Conflict
from quorate.models.model import schema_of

from .support import Replica, serving


class Seat(Model, unique_together=[("row", "number"), ("number", "guest")]):
    id: UUID = field(primary_key=True)
    row: str
    number: int
    guest: str | None = None


async def test_a_taken_group_is_refused_for_create_put_patch_and_bulk(tmp_path: Path) -> None:
    with serving(tmp_path / "db", Seat) as (seats,):
        await seats.json("POST", "", {"row": "A", "number": 1})
        other = (await seats.json("POST", "", {"row": "A", "number": 2}))["id"]
        for request in (
            ("POST", "", {"row": "A", "number": 1}),
            ("PUT", other, {"row": "A", "number": 1}),
            ("PATCH", other, {"number": 1}),
        ):
            error = await seats.refused_by_log(*request)
            assert (error.status, error.errors[0]["field"]) == (409, "row, number")
            assert error.errors[0]["reason"] == "unique_together"
            assert error.detail == "another Seat has the same row, number: A, 1"
        error = await seats.refused_by_log("POST", "_bulk", [{"row": "B", "number": 1}, {"row": "B", "number": 1}])
        assert (error.status, error.errors[0]["row"]) == (409, 1)
        assert (await seats.json("GET", "count"))["count"] == 2
        assert (await seats.json("PATCH", other, {"row": "B", "number": 1}))["row"] == "B"


async def test_none_is_equal_to_nothing_in_a_group_either(tmp_path: Path) -> None:
    with serving(tmp_path / "db", Seat) as (seats,):
        for row in "AB":
            await seats.json("POST", "", {"row": row, "number": 1})
        await seats.json("POST", "", {"row": "C", "number": 1, "guest": "ada"})
        error = await seats.refused_by_log("POST", "", {"row": "D", "number": 1, "guest": "ada"})
        assert error.errors[0]["field"] == "number, guest"


def test_the_refusal_is_the_same_however_the_fields_are_ordered(tmp_path: Path) -> None:
    """Of several broken constraints every node names the same one."""

    def declared(groups: list[tuple[str, str]], *, reverse: bool) -> type[Model]:
        annotations: dict[str, object] = {"id": int, "b": int, "a": int, "c": int}
        values: dict[str, object] = {"id": field(primary_key=True), "b": field(unique=True), "a": field(unique=True)}
        names = sorted(annotations, reverse=reverse)
        body = {"__annotations__": {name: annotations[name] for name in names}, "__module__": __name__, **values}
        return type(Model)("Thing", (Model,), body, unique_together=groups)  # type: ignore[no-any-return]

    said = []
    for number, reverse in enumerate((False, True)):
        groups = [("b", "c"), ("a", "c")]
        with pytest.raises(Exception, match="unique by itself"):
            declared(groups, reverse=reverse)
        replica = Replica(tmp_path / str(number), [declared([], reverse=reverse)])
        replica.apply(Create("Thing", ("id", "a", "b", "c"), [(1, 1, 1, 1)]))
        for row in ((1, 1, 1, 1), (2, 1, 1, 1), (2, 2, 1, 1)):
            with pytest.raises(Conflict) as refused:
                replica.apply(Create("Thing", ("id", "a", "b", "c"), [row]))
            said.append(refused.value.args)
        replica.close()
    assert said[:3] == said[3:]
    assert [args[1] for args in said[:3]] == ["id", "a", "b"]


def test_the_groups_are_part_of_the_fingerprint() -> None:
    assert schema_of(Seat).fingerprint()["unique_together"] == [["number", "guest"], ["row", "number"]]


async def test_a_hidden_field_of_a_group_is_not_told(tmp_path: Path) -> None:
    class Pass(Model, unique_together=[("door", "pin")], resource="passes"):
        id: UUID = field(primary_key=True)
        door: str
        pin: str = field(expose=False)

    with serving(tmp_path / "db", Pass) as (passes,):
        await passes.json("POST", "", {"door": "a", "pin": "4711"})
        error = await passes.refused_by_log("POST", "", {"door": "a", "pin": "4711"})
        assert error.detail == "another Pass has the same door, pin"
        assert "4711" not in str(error.errors)
