"""Why a query is not answered."""

from __future__ import annotations

from quorate.errors import QuorateError


class BadQuery(QuorateError):
    """A parameter is wrong: its name as the client gave it, a reason for programs, a message for people."""

    def __init__(self, parameter: str, reason: str, message: str) -> None:
        super().__init__(f"{parameter}: {message}")
        self.parameter, self.reason, self.message = parameter, reason, message
