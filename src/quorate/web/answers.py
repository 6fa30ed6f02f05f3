"""JSON that people read with curl: it ends its line, so that the shell's prompt begins another."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse


class JSONLine(JSONResponse):
    """What this node says of itself."""

    def render(self, content: Any) -> bytes:
        return super().render(content) + b"\n"
