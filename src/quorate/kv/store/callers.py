"""Who awaits a call: told of its end by way of a future."""

from __future__ import annotations

import asyncio

from quorate.errors import QuorateError
from quorate.kv.replies import Reply

Waiting = asyncio.Future[Reply]


class Callers:
    """The :class:`~quorate.kv.gathering.Sender` of all calls, each at the place of its future."""

    is_gone = False

    def answered(self, place: Waiting, reply: Reply) -> None:
        """One was carried out, or refused. Who was cancelled does not hear of it."""
        if not place.done():
            place.set_result(reply)

    def failed(self, place: Waiting, error: QuorateError, request_id: str | None) -> None:
        """One was not carried out, or may not have been."""
        if not place.done():
            place.set_exception(error)

    def go_on(self) -> None:
        """Nothing: each goes on by itself."""


CALLERS = Callers()
