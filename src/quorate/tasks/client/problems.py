"""Refusals, which come as RFC 9457 problems, as the errors that they were: the inverse of ``rest/refusals``."""

from __future__ import annotations

from typing import Any

import msgspec

from quorate.tasks.codes import BY_CODE
from quorate.tasks.errors import TaskRefusal


class OtherRefusal(TaskRefusal):
    """A node refused for a reason that has no class here: a later version's, or one that does not concern tasks."""

    def __init__(self, status: int, title: str, detail: str, code: str = "") -> None:
        super().__init__(status, title, detail, code)
        self.status = status
        """Of the answer."""
        self.title = title
        self.detail = detail
        self.code = code
        """Empty if it has none."""

    def __str__(self) -> str:
        return self.detail or f"the cluster answered with the status {self.status} {self.title}".rstrip()


class _Problem(msgspec.Struct):
    """What every problem has."""

    title: str = ""
    detail: str = ""
    code: str = ""
    errors: list[dict[str, Any]] = []
    retry_after: int | None = None


_decode = msgspec.json.Decoder(_Problem).decode
_decode_members = msgspec.json.Decoder(dict[str, Any]).decode


def refusal_of(status: int, body: bytes) -> TaskRefusal:
    """The error that an answer stands for: :class:`OtherRefusal` if it is none of the known ones."""
    try:
        problem = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return OtherRefusal(status, "", "")
    refusal = _known(status, problem, body) or OtherRefusal(status, problem.title, problem.detail, problem.code)
    if problem.retry_after is not None:
        refusal.retry_after = problem.retry_after
    return refusal


def _known(status: int, problem: _Problem, body: bytes) -> TaskRefusal | None:
    coded = BY_CODE.get(problem.code)
    found = problem.errors[0] if problem.errors else {}
    try:
        if coded is not None:
            return coded.refusal_of({**_decode_members(body), **found})
        if found and not problem.code and status in (400, 413, 422):  # it was refused before it was taken for a task
            return BY_CODE["invalid-task"].refusal_of(found)
    except msgspec.ValidationError:
        pass  # a code of ours with other values: a later version's
    return None


def detail_of(body: bytes) -> str:
    """What a problem says, for people."""
    try:
        return _decode(body).detail
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
