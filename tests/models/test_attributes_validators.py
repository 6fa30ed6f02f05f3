"""A1.42: the named validators, each on its types, in the answers and in the JSON schema."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from quorate.models import Model, field
from quorate.models.model import schema_of
from quorate.models.rest.openapi import describe

from .support import serving
from .test_declaration import declare


class Ruled(Model):
    """A field for each named validator."""

    id: UUID = field(primary_key=True)
    text: str = field(default="a", validate="non_empty")
    tags: list[str] = field(default=["a"], validate="non_empty")
    mail: str | None = field(default=None, validate="email")
    site: str | None = field(default=None, validate=["url", "length(,40)"])
    code: str | None = field(default=None, validate=["length(2,4)", "regex(^[A-Z,)]+$)"])
    pair: list[int] | None = field(default=None, validate="length(2,2)")
    rate: Decimal = field(default=1, validate="range(0.5, 2.5)")
    low: int = field(default=0, validate="min_value(-3)")
    high: float = field(default=0, validate="max_value(1.5)")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mail", "ada@example.org"),
        ("mail", "Ada.L+x@Example.ORG"),
        ("mail", None),
        ("site", "https://example.org/a?b=c"),
        ("site", "http://[::1]:8080"),
        ("code", "AB"),
        ("code", "A,)B"),
        ("pair", [1, 2]),
        ("rate", "0.5"),
        ("rate", "2.5"),
        ("low", -3),
        ("high", 1.5),
    ],
)
async def test_what_a_validator_allows_is_stored_as_it_was_sent(tmp_path: Path, name: str, value: object) -> None:
    with serving(tmp_path / "db", Ruled) as (things,):
        assert (await things.json("POST", "", {name: value}))[name] == value


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("text", "", "string_too_short"),
        ("tags", [], "too_short"),
        ("mail", "ada", "email"),
        ("mail", "Ada <ada@example.org>", "email"),
        ("mail", "ada@example", "email"),
        ("site", "example.org", "url"),
        ("site", "mailto:ada@example.org", "url"),
        ("site", "https://exa mple.org", "url"),
        ("site", "https://example.org/" + "a" * 40, "string_too_long"),
        ("code", "A", "string_too_short"),
        ("code", "ABCDE", "string_too_long"),
        ("code", "ab", "string_pattern_mismatch"),
        ("pair", [1], "too_short"),
        ("pair", [1, 2, 3], "too_long"),
        ("rate", "0.49", "greater_than_equal"),
        ("rate", "2.51", "less_than_equal"),
        ("low", -4, "greater_than_equal"),
        ("high", 1.6, "less_than_equal"),
    ],
)
async def test_what_it_does_not_allow_is_refused_by_field_and_rule(
    tmp_path: Path, name: str, value: object, reason: str
) -> None:
    with serving(tmp_path / "db", Ruled) as (things,):
        key = (await things.json("POST", "", {}))["id"]
        for request in (("POST", "", {name: value}), ("PUT", key, {name: value}), ("PATCH", key, {name: value})):
            error = await things.refused(*request)
            assert (error.status, error.errors[0]["field"], error.errors[0]["reason"]) == (422, name, reason)


def test_the_json_schema_says_them_in_its_own_words() -> None:
    document = describe([schema_of(Ruled)], title="t", version="1")
    properties: dict[str, Any] = document["components"]["schemas"]["RuledCreate"]["properties"]

    def of(name: str) -> dict[str, Any]:
        parts = properties[name].get("anyOf", [properties[name]])
        return dict(parts[0])

    assert of("text")["minLength"] == 1
    assert of("tags")["minItems"] == 1
    assert of("mail")["format"] == "email"
    assert (of("site")["format"], of("site")["maxLength"]) == ("uri", 40)
    assert of("code") == {"type": "string", "minLength": 2, "maxLength": 4, "pattern": "^[A-Z,)]+$"}
    assert (of("pair")["minItems"], of("pair")["maxItems"]) == (2, 2)
    assert of("low")["minimum"] == -3
    assert of("high")["maximum"] == 1.5


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("x: int = field(validate='email')", "validate='email': needs a str"),
        ("x: str = field(validate='email(a)')", "validate='email(a)': takes no argument"),
        ("x: bytes = field(validate='url')", "validate='url': needs a str"),
        ("x: int = field(validate='regex(a)')", "validate='regex(a)': needs a str"),
        ("x: str = field(validate='regex')", "validate='regex': needs a pattern"),
        ("x: int = field(validate='length(1)')", "validate='length(1)': needs a value with a length"),
        ("x: str = field(validate='length')", "validate='length': needs a limit"),
        ("x: str = field(validate='length(-1)')", "validate='length(-1)': needs whole numbers"),
        ("x: str = field(validate='length(3,2)')", "validate='length(3,2)': can never hold"),
        ("x: str = field(validate='range(1,2)')", "validate='range(1,2)': needs a number"),
        ("x: bool = field(validate='range(0,1)')", "validate='range(0,1)': needs a number"),
        ("x: int = field(validate='range(1,b)')", "validate='range(1,b)': needs one int"),
        ("x: int = field(validate='max_value')", "validate='max_value': needs one int"),
        ("x: int = field(validate=['min_value(1)', 'range(2,3)'])", "validate='range(2,3)' and ge limit the same"),
        ("x: str = field(max_length=3, validate='length(,4)')", "validate='length(,4)' and max_length limit the same"),
        ("x: str = field(pattern='a', validate='regex(b)')", "validate='regex(b)' and pattern limit the same"),
    ],
)
def test_a_validator_that_does_not_fit_is_refused_by_name(body: str, message: str) -> None:
    from quorate.errors import ConfigError

    with pytest.raises(ConfigError) as error:
        declare(body)
    assert str(error.value).startswith(f"Thing.x: {message}")
