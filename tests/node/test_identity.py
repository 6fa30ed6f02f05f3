"""Which nodes talk to each other, by what they say of their schemas."""

from __future__ import annotations

import pytest

from quorate.node.identity import DECLARED, are_compatible


@pytest.mark.parametrize(
    ("schema", "other", "compatible"),
    [
        ("", "", True),
        ("a", "a", True),
        ("a", "b", False),
        (f"{DECLARED}0.a", f"{DECLARED}1.b", True),
        (f"{DECLARED}0.a", "", False),
        ("", f"{DECLARED}0.a", False),
    ],
)
def test_schemas_may_differ_where_the_log_says_which_is_in_force(schema: str, other: str, compatible: bool) -> None:
    assert are_compatible(schema, other) is compatible
