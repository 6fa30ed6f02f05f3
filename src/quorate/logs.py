"""Where a process's log goes, and in which form: lines for people, or a JSON object in each line for collectors.

Every line of ``json`` has ``time`` (UTC), ``level``, ``logger``, ``message`` and who wrote it (``node_id``, or
``worker``); lines about what happens to the cluster also have ``event``, and what belongs to it: ``term``, ``leader``,
``peer``, ``index``, ``seconds`` … (docs/operations.md has the list). An exception is in ``exc_info``.

Libraries log nothing by themselves. What a program that embeds a node does with these lines is its own affair: they go
to loggers below ``quorate``, with the same fields.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from quorate.errors import ConfigError

MB = 1_000_000
LEVELS = ("debug", "info", "warning", "error")
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}
"""What a terminal would obey, and how it is shown instead."""


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
    try:
        settings.file.parent.mkdir(parents=True, exist_ok=True)
        return LogFile(settings.file, settings.rotate_mb * MB, settings.backups)
    except (OSError, ValueError) as error:
        raise ConfigError(f"the log cannot be written to {settings.file}: {_why(error)}") from error


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


# -- the form --------------------------------------------------------------------------------------------


def _console(who: Mapping[str, int | str]) -> logging.Formatter:
    called = " ".join(f"{name.removesuffix('_id')} {value}" for name, value in who.items()).replace("%", "%%")
    return _ConsoleFormatter(f"%(asctime)s %(levelname)-7s {called} %(name)s: %(message)s")


class _ConsoleFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return _formatted(super().format, record).translate(_CONTROLS)


def _formatted(form: Callable[[logging.LogRecord], str], record: logging.LogRecord) -> str:
    """``form(record)``; or a line about it, if it was logged by mistake with arguments that do not go with it."""
    try:
        return form(record)
    except Exception as error:
        told = (record.msg, record.lineno, error)
        message = "%r (line %d) cannot be written: %s"
        return form(logging.LogRecord(record.name, logging.ERROR, record.pathname, record.lineno, message, told, None))


def _json(who: Mapping[str, int | str]) -> logging.Formatter:
    from pythonjsonlogger.msgspec import MsgspecFormatter

    class JsonFormatter(MsgspecFormatter):
        def format(self, record: logging.LogRecord) -> str:
            return _formatted(super().format, record)

        def jsonify_log_record(self, log_data: dict[str, Any]) -> str:
            try:
                return super().jsonify_log_record(log_data)
            except UnicodeEncodeError:
                return super().jsonify_log_record(_encodable(log_data))

    return JsonFormatter(
        ["levelname", "name", "message"],
        rename_fields={"levelname": "level", "name": "logger"},
        static_fields=dict(who),
        timestamp="time",
    )


def _encodable(value: Any) -> Any:
    """It with every half of a surrogate pair spelt out: names of files may have some, and UTF-8 has none."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {_encodable(key): _encodable(each) for key, each in value.items()}
    return [_encodable(each) for each in value] if isinstance(value, list | tuple) else value


# -- a file ----------------------------------------------------------------------------------------------


class LogFile(logging.Handler):
    """Appends lines to a file that is rotated: by this process, by another one that writes it, or by logrotate.

    A file that was renamed or removed is opened anew with the next line, so nobody has to tell us.
    """

    def __init__(self, path: Path, bytes_max: int, backups: int) -> None:
        """At ``bytes_max`` it is renamed (0: never), and ``backups`` of those are kept. Raises :class:`OSError`."""
        super().__init__()
        self._path = path.absolute()
        self._bytes_max = bytes_max
        self._backups = backups
        self._failing = self._torn = False
        self._file: int | None = self._open()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, in one go. What goes wrong is told on standard error, once until it has gone well again."""
        try:
            line = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
        except Exception:
            self.handleError(record)
            return
        if self._torn:
            line = b"\n" + line
        try:
            written = os.write(self._file_for(len(line)), line)
            self._torn = written < len(line)
            if self._torn:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._failing = False
        except OSError as error:
            if not self._failing and sys.stderr is not None:
                sys.stderr.write(f"the log cannot be written to {self._path}: {_why(error)}\n")
            self._failing = True

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def _file_for(self, line_bytes: int) -> int:
        """The file that has the name now, and room for a line."""
        if self._file is None or not self._has_the_name(self._file):
            self._reopen()
        assert self._file is not None
        if self._bytes_max and 0 < os.fstat(self._file).st_size > self._bytes_max - line_bytes:
            self._rotate(self._file)
            self._reopen()
        return self._file

    def _has_the_name(self, file: int) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(file))
        except FileNotFoundError:
            return False

    def _reopen(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file = None
        self._file = self._open()

    def _rotate(self, file: int) -> None:
        """Rename it, unless another process was quicker: whoever does has the file's lock until the name is free."""
        fcntl.flock(file, fcntl.LOCK_EX)
        if not self._has_the_name(file):
            return
        for number in range(self._backups, 1, -1):
            with suppress(FileNotFoundError):
                os.replace(f"{self._path}.{number - 1}", f"{self._path}.{number}")
        os.replace(self._path, f"{self._path}.1")

    def close(self) -> None:
        """Close the file."""
        self.acquire()
        try:
            if self._file is not None:
                os.close(self._file)
            self._file = None
        finally:
            self.release()
        super().close()
