"""The files of the page, read once, and the headers that keep it to itself."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from quorate.rest.http import Headers, Response
from quorate.web.origins import header

DIRECTORY = Path(__file__).with_name("static")
PAGE = "index.html"

_TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}
_HEADERS = [
    (b"cache-control", b"no-cache"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


@dataclass(frozen=True, slots=True)
class File:
    """One of them. ``tag`` is its ETag: files change with the version that is installed, and no sooner."""

    kind: bytes
    tag: bytes
    content: bytes

    def answer(self, headers: Headers, *more: tuple[bytes, bytes]) -> Response:
        """It, or that the browser has it."""
        sent = [(b"content-type", self.kind), (b"etag", self.tag), *_HEADERS, *more]
        if header(headers, b"if-none-match") == self.tag.decode():
            return Response(304, sent, b"")
        return Response(200, sent, self.content)


def files() -> dict[str, File]:
    """All of them by their names."""
    found = {}
    for path in sorted(DIRECTORY.iterdir()):
        content = path.read_bytes()
        tag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
        found[path.name] = File(_TYPES[path.suffix], tag.encode(), content)
    return found


def content_policy(origins: Iterable[str]) -> tuple[bytes, bytes]:
    """The page runs and shows its own files alone, and speaks with the members alone (CSP Level 3)."""
    connect = " ".join(["'self'", *sorted(origins)])
    policy = (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src {connect}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    )
    return b"content-security-policy", policy.encode("ascii", "ignore")
