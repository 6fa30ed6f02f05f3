"""What settings are called, and what is wrong with them, in plain words: one line for each mistake, with the setting's
name as it was given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

from quorate.errors import ConfigError

PREFIX = "QUORATE_"
NEAR = 0.7
"""So alike, as :mod:`difflib` measures it, are two names of which one may be the other, misspelt."""

ALIASES = {
    "storage_profile": "STORAGE_PROFILE",
    "opt_persist": "LT_OPT_PERSIST",
    "buffer_size": "LT_BUFFER_SIZE",
    "max_events_buffer": "LT_MAX_EVENTS_BUFFER",
    "flush_interval_ms": "LT_FLUSH_INTERVAL_MS",
    "fsync_on_append": "LT_FSYNC_ON_APPEND",
    "event_max_batch": "LT_EVENT_MAX_BATCH",
    "enable_binary": "LT_ENABLE_BINARY",
}
"""Variables by which another system knows the same settings; ours come first."""
FIXED = {
    "LT_DISABLE_INDEX": (False, "the log has no index to do without, and those of the models are in their state"),
    "LT_DEDUP_PERSIST": (
        True, "request ids are replicated state, and a node without them would apply a retry that the others do not"
    ),
}  # fmt: skip
"""Variables of the same system that can only say what is so here anyway; and why."""
_WORDS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}

NUMBER = ("int_type", "int_parsing", "int_from_float", "int_parsing_size")
TRUTH = ("bool_type", "bool_parsing")
TEXT = ("string_type", "path_type")
CHOICE = ("enum", "literal_error")
BYTES = ("byte_size", "byte_size_unit")
RANGE = ("greater_than_equal", "less_than_equal")


class WrongSettings(ConfigError):
    """What :attr:`lines` say."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = tuple(lines)
        """One for each mistake."""
        super().__init__("; ".join(self.lines))


def wrong_settings(error: ValidationError, kind: type[BaseModel], named: Callable[[str], str]) -> WrongSettings:
    """The mistakes in values for ``kind``; ``named`` tells what whoever gave a setting calls it."""
    return WrongSettings(_described(mistake, kind, named) for mistake in error.errors())


def _described(mistake: Mapping[str, Any], kind: type[BaseModel], named: Callable[[str], str]) -> str:
    if not mistake["loc"]:
        return _reason(mistake, kind)
    name = str(mistake["loc"][0])
    if mistake["type"] == "missing":
        return f"{name} is required{_ways_to_give(name, named)}"
    if mistake["type"] == "extra_forbidden":
        return f"{named(name)} is no setting{_did_you_mean(name, kind.model_fields)}"
    return f"{named(name)} {_reason(mistake, kind)}"


def _ways_to_give(name: str, named: Callable[[str], str]) -> str:
    return "" if named(name) == name else f": give {flag(name)}, or set {variable(name)}"


def _reason(mistake: Mapping[str, Any], kind: type[BaseModel]) -> str:
    """What is allowed, and what was given unless it may be a secret."""
    what, context, given = mistake["type"], mistake.get("ctx", {}), mistake["input"]
    if what in NUMBER:
        return f"must be a whole number, not {given!r}"
    if what in TRUTH:
        return f"must be true or false, not {given!r}"
    if what in TEXT:
        return "must be text"
    if what == "tuple_type":
        return "must be text, or a list of texts"
    if what in CHOICE:
        return f"must be {context['expected']}, not {given!r}"
    if what in BYTES:
        return f"must be a number of bytes, as 512mib or 2gb, not {given!r}"
    if what in RANGE:
        return f"must be {_range(kind, str(mistake['loc'][0]))}, not {given!r}"
    if what in ("string_too_short", "too_short") and not given:
        return "must not be empty"
    if what == "string_too_long":
        return f"must have at most {context['max_length']} characters"
    if what == "value_error":
        return str(context["error"])
    message = str(mistake["msg"])
    return message[:1].lower() + message[1:]


def _range(kind: type[BaseModel], name: str) -> str:
    metadata = kind.model_fields[name].metadata
    least = next((limit.ge for limit in metadata if hasattr(limit, "ge")), None)
    most = next((limit.le for limit in metadata if hasattr(limit, "le")), None)
    if least is not None and most is not None:
        return f"from {least} to {most}"
    return f"at least {least}" if most is None else f"at most {most}"


def check_fixed(environment: Mapping[str, str]) -> None:
    """Raise :class:`ConfigError` for variables that ask for what there is no choice of."""
    wrong = [
        f"{name} can only be {int(value)} here: {why}"
        for name, (value, why) in FIXED.items()
        if name in environment and _WORDS.get(environment[name].strip().lower()) is not value
    ]
    if wrong:
        raise WrongSettings(wrong)


def flag(name: str) -> str:
    """What a setting is called on the command line."""
    return f"--{name.replace('_', '-')}"


def variable(name: str) -> str:
    """What it is called in the environment."""
    return f"{PREFIX}{name.upper()}"


def _did_you_mean(given: str, known: Iterable[str]) -> str:
    near = get_close_matches(given, known, n=1, cutoff=NEAR)
    return f"; did you mean {near[0]}?" if near else ""


def unknown_variables(environment: Iterable[str], known: Iterable[str]) -> list[str]:
    """A line for each variable that begins like ours and is none. Case does not matter, as in reading them."""
    names = set(known)
    ours = sorted(name for name in environment if name.upper().startswith(PREFIX) and name.upper() not in names)
    return [f"{name} is set, but is no setting{_nearest(name.upper(), names)}" for name in ours]


def _nearest(name: str, names: set[str]) -> str:
    """The prefix says nothing of how near two names are."""
    rests = sorted(each.removeprefix(PREFIX) for each in names)
    near = get_close_matches(name.removeprefix(PREFIX), rests, n=1, cutoff=NEAR)
    return f"; did you mean {PREFIX}{near[0]}?" if near else ""
