"""Replies as tests expect them, written once for RESP2 and RESP3, which have other types for the same."""

from __future__ import annotations

from typing import Any


def fits(reply: Any, expected: Any) -> bool:
    """Whether a reply is the expected one, be it in RESP2 or RESP3; an error reply is an exception."""
    if isinstance(expected, str):
        return isinstance(reply, Exception) and str(reply) == expected
    if isinstance(expected, float):
        return isinstance(reply, bytes | float) and float(reply) == expected
    if isinstance(expected, set):
        return isinstance(reply, list | set) and len(reply) == len(expected) and set(reply) == expected
    if isinstance(expected, dict):
        found = dict(_paired(reply)) if isinstance(reply, list) else reply
        return (
            isinstance(found, dict)
            and found.keys() == expected.keys()
            and all(fits(found[name], value) for name, value in expected.items())
        )
    if isinstance(expected, tuple):
        return fits(list(reply), list(expected))
    if not isinstance(expected, list):
        return type(reply) is type(expected) and bool(reply == expected)
    if expected and isinstance(expected[0], tuple) and isinstance(reply, list) and len(reply) == 2 * len(expected):
        reply = _paired(reply)
    return (
        isinstance(reply, list)
        and len(reply) == len(expected)
        and all(fits(*both) for both in zip(reply, expected, strict=True))
    )


def _paired(flat: list[Any]) -> list[tuple[Any, Any]]:
    return list(zip(flat[::2], flat[1::2], strict=True))
