"""From a class name to the names of its table and its resource."""

from __future__ import annotations

import re

_WORD_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
RESOURCE = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")


def snake_case(name: str) -> str:
    """``OrderItem`` → ``order_item``, ``HTTPServer`` → ``http_server``."""
    return _WORD_BOUNDARY.sub("_", name).lower()


def plural(word: str) -> str:
    """The regular English plural of the last word: ``category`` → ``categories``, ``box`` → ``boxes``."""
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return word[:-1] + "ies"
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    return word + "s"


def resource_name(class_name: str) -> str:
    """The resource of a model: ``Product`` → ``products``, ``OrderItem`` → ``order-items``."""
    return plural(snake_case(class_name)).replace("_", "-")


def table_name(class_name: str) -> str:
    """The table of a model. Prefixed, for machines of other kinds keep their tables in the same file."""
    return "model_" + snake_case(class_name)
