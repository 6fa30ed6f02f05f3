"""The right to administer: who may change the cluster through this node.

With a token (``admin_token``) every request that administers has to show it. Without one the port is the right: who
reaches it may do everything, but not through the browser of somebody who does and looks at a foreign page.
"""

from __future__ import annotations

import hmac

from quorate.node.node import Node
from quorate.rest.http import Headers
from quorate.web.origins import addresses_of, header, is_of_members
from quorate.web.problems import NOT_APPLIED, Problem

_PLACES = ("/cluster", "/admin", "/dashboard")
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_CHALLENGE = b'Bearer realm="quorate"'


def administers(method: str, path: str) -> bool:
    """Whether a request is one that needs the right."""
    return method not in _READING and any(path == place or path.startswith(f"{place}/") for place in _PLACES)


class AdminRight:
    """Of one node. ``is_secret``: there is a token, so that the right is more than to reach the port."""

    def __init__(self, node: Node, token: str | None) -> None:
        self._node = node
        self._token = None if token is None else token.encode()

    @property
    def is_secret(self) -> bool:
        return self._token is not None

    def refusal(self, method: str, path: str, headers: Headers) -> Problem | None:
        """Why a request is refused; ``None`` if it administers nothing, or may."""
        if not administers(method, path):
            return None
        return self.missing(headers) if self.is_secret else self._foreign(headers)

    def missing(self, headers: Headers) -> Problem | None:
        """What is wrong with the token that a request shows (RFC 6750 §2.1); ``None`` if it is the right one."""
        assert self._token is not None
        given = header(headers, b"authorization")
        if given is None:
            return _unauthorized("this needs the cluster's admin token: 'Authorization: Bearer TOKEN'", _CHALLENGE)
        scheme, _, shown = given.partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(shown.strip().encode("latin-1"), self._token):
            return None
        return _unauthorized("this is not the cluster's admin token", _CHALLENGE + b', error="invalid_token"')

    def _foreign(self, headers: Headers) -> Problem | None:
        origin = header(headers, b"origin")
        if origin is None or is_of_members(origin, header(headers, b"host"), addresses_of(self._node)):
            return None
        detail = (
            "pages from elsewhere may not administer a cluster that has no admin token, nor may its own "
            "under a name that is not a member's"
        )
        return Problem(403, detail, members=NOT_APPLIED)


def _unauthorized(detail: str, challenge: bytes) -> Problem:
    """RFC 6750 §3: an error is named only to who has shown something."""
    return Problem(401, detail, members=NOT_APPLIED, headers=[(b"www-authenticate", challenge)])
