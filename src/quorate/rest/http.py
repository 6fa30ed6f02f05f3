"""What a resource and the web layer say to each other: plain requests in, :class:`Response` or an exception out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import NamedTuple, Protocol

from quorate.errors import QuorateError

Headers = Iterable[tuple[bytes, bytes]]
"""Names in lower case, as ASGI has them."""

JSON_TYPE = (b"content-type", b"application/json")


class Response(NamedTuple):
    """A finished answer. ``content-length`` and ``date`` are left to the server."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Chunks(Protocol):
    """The bits of an answer, such as an asynchronous generator makes them."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    def aclose(self) -> Awaitable[None]:
        """No more are wanted. Called in any case, even if none was."""
        ...


class Stream(NamedTuple):
    """An answer that comes bit by bit, each of which is waited for until the client takes it."""

    status: int
    headers: list[tuple[bytes, bytes]]
    chunks: Chunks


class RequestError(QuorateError):
    """The request is refused: the parts of an RFC 9457 problem.

    ``errors`` lists single findings as ``{"field", "reason", "message"}``, and ``"row"`` in a bulk request;
    ``members`` are further extension members (RFC 9457 §3.2), such as ``code``; ``headers`` go into the answer.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Sequence[dict[str, object]] = (),
        members: Mapping[str, object] | None = None,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.title = HTTPStatus(status).phrase
        self.detail = detail
        self.errors = list(errors)
        self.members = dict(members or {})
        self.headers = list(headers)


def not_allowed(method: str, allowed: Iterable[str]) -> RequestError:
    """The refusal of a method where only others are ``allowed``: HEAD, too, where GET is."""
    methods = list(allowed)
    names = ", ".join([*methods, *(["HEAD"] if "GET" in methods else [])])
    detail = f"{method[:20]} is not allowed here, only {names}"
    return RequestError(405, detail, headers=[(b"allow", names.encode())])


def finding(field: str, reason: str, message: str, row: int | None = None) -> dict[str, object]:
    """One entry of :attr:`RequestError.errors`."""
    entry: dict[str, object] = {"field": field, "reason": reason, "message": message}
    return entry if row is None else {"row": row, **entry}
