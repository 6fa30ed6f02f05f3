"""What can come about together with the end of a task, all of it once or nothing: the port for those who know how."""

from __future__ import annotations

from typing import Protocol

from quorate.rest.http import RequestError

Effect = tuple[str, bytes]
"""A machine's name, and a command for it that is carried out together with the end of a task."""


class PossibleEffects(Protocol):
    """Turns what a request wants into commands of the machines that are concerned."""

    def parts(self, document: bytes) -> list[Effect]:
        """The commands, in the order in which they are to be carried out.

        ``document`` is JSON. Raises :class:`~quorate.rest.http.RequestError` for what is wrong by itself.
        """
        ...


class NoEffects:
    """For nodes that hold nothing but tasks."""

    def parts(self, document: bytes) -> list[Effect]:
        """Refuses them all."""
        raise RequestError(422, "this cluster keeps neither models nor keys: there can be no effects on them")
