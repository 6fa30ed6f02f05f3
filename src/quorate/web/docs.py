"""``/openapi.json`` and ``/docs``: the machine-readable description, and Swagger UI from an installed package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from quorate._version import __version__
from quorate.app import App
from quorate.models.rest.openapi import describe
from quorate.web.answers import JSONLine
from quorate.web.openapi import OPERATIONS

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
<link rel="icon" href="/docs/assets/favicon-32x32.png">
</head>
<body>
<div id="docs"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({{url: "/openapi.json", dom_id: "#docs", deepLinking: true}})</script>
</body>
</html>
"""


def docs_routes(app: App, more: Mapping[str, Any], schemas: Mapping[str, Any]) -> list[Route | Mount]:
    """The routes of both; ``more`` paths than all nodes have are described, too, with ``schemas`` of theirs.

    The description is made once: declarations do not change while a program runs.
    """
    description = describe(app.schemas, title=app.title, version=__version__, read_consistency=app.read_consistency)
    description["paths"] = {**description["paths"], **OPERATIONS, **more}
    description["components"]["schemas"].update(schemas)
    page = _PAGE.format(title=app.title)

    async def openapi(request: Request) -> Response:
        return JSONLine(description)

    async def docs(request: Request) -> HTMLResponse:
        return HTMLResponse(page)

    return [
        Route("/openapi.json", openapi),
        Route("/docs", docs),
        Mount("/docs/assets", StaticFiles(packages=[("swagger_ui", "static")])),
    ]
