"""Where a process's log goes, and in which form: lines for people, or a JSON object in each line for collectors.

Every line of ``json`` has ``time`` (UTC), ``level``, ``logger``, ``message`` and who wrote it (``node_id``, or
``worker``); lines about what happens to the cluster also have ``event``, and what belongs to it: ``term``, ``leader``,
``peer``, ``index``, ``seconds`` … (docs/operations.md has the list). An exception is in ``exc_info``.

Libraries log nothing by themselves. What a program that embeds a node does with these lines is its own affair: they go
to loggers below ``quorate``, with the same fields.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from quorate.errors import ConfigError

MB = 1_000_000
LEVELS = ("debug", "info", "warning", "error")


class LogFormat(StrEnum):
    """How a line is written."""

    CONSOLE = "console"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """Raises :class:`ConfigError` for a level that there is not."""

    level: str = "info"
    format: LogFormat = LogFormat.CONSOLE
    file: Path | None = None
    """Instead of standard error."""
    rotate_mb: int = 100
    """A file of so many megabytes is renamed to ``FILE.1``, and a new one begun; 0: never."""
    backups: int = 5
    """So many of those are kept."""

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ConfigError(f"--log-level is {', '.join(LEVELS[:-1])} or {LEVELS[-1]}, not {self.level!r}")


def begin_logging(settings: LogSettings, who: Mapping[str, int | str]) -> None:
    """Send the log of this process where ``settings`` say; ``who`` writes it, in one name and value (``node_id=1``).

    Raises :class:`ConfigError` if the file cannot be written.
    """
    handler = _handler(settings)
    handler.setFormatter(_json(who) if settings.format is LogFormat.JSON else _console(who))
    root = logging.getLogger()
    root.setLevel(settings.level.upper())
    root.addHandler(handler)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # what it says of itself is no news about the node


def _handler(settings: LogSettings) -> logging.Handler:
    if settings.file is None:
        return logging.StreamHandler(sys.stderr)
    from logging.handlers import RotatingFileHandler  # imports sockets and queues for its other handlers

    try:
        settings.file.parent.mkdir(parents=True, exist_ok=True)
        return RotatingFileHandler(
            settings.file, maxBytes=settings.rotate_mb * MB, backupCount=settings.backups, encoding="utf-8"
        )
    except OSError as error:
        raise ConfigError(f"the log cannot be written to {settings.file}: {error.strerror}") from error


def _console(who: Mapping[str, int | str]) -> logging.Formatter:
    called = " ".join(f"{name.removesuffix('_id')} {value}" for name, value in who.items()).replace("%", "%%")
    return logging.Formatter(f"%(asctime)s %(levelname)-7s {called} %(name)s: %(message)s")


def _json(who: Mapping[str, int | str]) -> logging.Formatter:
    from pythonjsonlogger.msgspec import MsgspecFormatter

    return MsgspecFormatter(
        ["levelname", "name", "message"],
        rename_fields={"levelname": "level", "name": "logger"},
        static_fields=dict(who),
        timestamp="time",
    )
