"""A1.41: a field with ``expose=False`` can be written and never leaves the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

from pydantic import field_validator

from quorate import event
from quorate.models import Model, field
from quorate.models.model import schema_of
from quorate.models.rest.openapi import describe

from .support import serving

SECRET = "s3cr3t-s3cr3t"


class User(Model):
    id: UUID = field(primary_key=True)
    name: str = field(unique=True)
    token: str = field(unique=True, expose=False, min_length=8)
    device: UUID | None = field(default=None, expose=False)
    settings: dict[str, Any] = field(default={}, expose=False)

    @event
    def token_cut(self, length: int) -> None:
        self.token = self.token[:length]


async def test_no_answer_shows_it(tmp_path: Path) -> None:
    """A1.41 expose."""
    with serving(tmp_path / "db", User) as (users,):
        created = await users.send("POST", "", {"name": "ada", "token": SECRET, "settings": {"a": SECRET}})
        key = created.headers[1][1].decode().rpartition("/")[2]
        answers = [
            created,
            await users.send("POST", "_bulk", [{"name": "bob", "token": SECRET + "2"}]),
            await users.send("GET", key),
            await users.send("GET", ""),
            await users.send("PATCH", key, {"token": SECRET + "3"}),
            await users.send("PATCH", key, {"settings": {"b": SECRET}}),
            await users.send("PUT", key, {"name": "ada", "token": SECRET}),
            await users.send("POST", f"{key}/token-cut", {"length": 10}),
        ]
        for answer in answers:
            assert answer.status in (200, 201)
            assert SECRET[:8] not in answer.body.decode() + str(answer.headers)
            assert b"token" not in answer.body
        row = users.engine.replica.machine.tables["User"].page(10, 0)[0]
        assert row[2] == SECRET[:10]


async def test_a_required_one_must_still_be_given(tmp_path: Path) -> None:
    with serving(tmp_path / "db", User) as (users,):
        error = await users.refused("POST", "", {"name": "ada"})
        assert (error.status, error.errors[0]["field"], error.errors[0]["reason"]) == (422, "token", "missing")


async def test_no_refusal_shows_it(tmp_path: Path) -> None:
    with serving(tmp_path / "db", User) as (users,):
        await users.send("POST", "", {"name": "ada", "token": SECRET})
        bob = (await users.json("POST", "", {"name": "bob", "token": SECRET + "2"}))["id"]
        refusals = [
            await users.refused_by_log("POST", "", {"name": "eve", "token": SECRET}),
            await users.refused_by_log("PATCH", bob, {"token": SECRET}),
            await users.refused_by_log("POST", f"{bob}/token-cut", {"length": 2}),
            await users.refused("PATCH", bob, {"device": SECRET}),
            await users.refused("POST", "_bulk", [{"name": "x", "token": SECRET + "x", "device": SECRET}]),
        ]
        assert [error.status for error in refusals] == [409, 409, 409, 422, 422]
        for error in refusals:
            assert SECRET[:2] not in error.detail + str(error.errors)
        assert refusals[0].detail == "another User has the same token"
        assert refusals[0].errors[0]["field"] == "token"


async def test_a_rule_that_repeats_the_value_is_not_quoted(tmp_path: Path) -> None:
    class Lock(Model):
        id: int = field(primary_key=True)
        code: str = field(expose=False)

        @field_validator("code")
        @classmethod
        def _digits(cls, value: str) -> str:
            if not value.isdigit():
                raise ValueError(f"{value} has no digits")
            return value

        @event
        def code_spelled(self) -> None:
            self.code = SECRET

    with serving(tmp_path / "db", Lock) as (locks,):
        await locks.send("POST", "", {"id": 1, "code": "1"})
        for request in (
            ("POST", "", {"id": 2, "code": SECRET}),
            ("POST", "_bulk", [{"id": 2, "code": SECRET}]),
            ("PATCH", "1", {"code": SECRET}),
            ("PUT", "1", {"code": SECRET}),
            ("POST", "1/code-spelled", {}),
        ):
            error = await locks.refused_by_log(*request)
            assert error.status in (409, 422)
            assert "Input is not valid" in str(error.errors)
            assert SECRET not in error.detail + str(error.errors)


def test_the_api_description_has_it_in_requests_only() -> None:
    schemas = describe([schema_of(User)], title="t", version="1")["components"]["schemas"]
    assert set(schemas["User"]["properties"]) == set(schemas["User"]["required"]) == {"id", "name"}
    assert "token" in schemas["UserCreate"]["required"]
    assert "token" in schemas["UserPatch"]["properties"]
