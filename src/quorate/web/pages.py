"""The pages that are called rarely, by way of Starlette: members, docs, SQL, and whatever is not there.

A node that nobody asks for any of them does without all that is imported here: see :meth:`quorate.web.site.Site`.
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from quorate.app import App
from quorate.models.machine import ModelsMachine
from quorate.node.node import Node
from quorate.tasks.rest import openapi as tasks_openapi
from quorate.web.admin_sql import AdminSql
from quorate.web.docs import docs_routes
from quorate.web.faults import FaultPages, refused_routes
from quorate.web.injected import InjectedFaults
from quorate.web.members import MembersPages
from quorate.web.openapi import SQL_OPERATION
from quorate.web.problems import Problem


def pages_of(
    node: Node, app: App, sql_of: ModelsMachine | None, tasks_path: str | None, faults: InjectedFaults | None = None
) -> Starlette:
    """They of one node. ``sql_of`` is the state that may be read in SQL; ``tasks_path``, where its tasks are served;
    ``faults`` are those that may be injected into it."""
    sql = AdminSql(node, sql_of, app) if sql_of is not None else None
    paths = SQL_OPERATION if sql is not None else {}
    if tasks_path is not None:
        paths = paths | tasks_openapi.paths(tasks_path)
    pages = Starlette(
        routes=[
            Route("/", _to_docs),
            *MembersPages(node).routes(),
            *(FaultPages(faults).routes() if faults is not None else refused_routes()),
            *docs_routes(app, paths, tasks_openapi.schemas() if tasks_path is not None else {}),
            *(sql.routes() if sql is not None else [Route("/admin/sql", _sql_is_off, methods=["GET", "POST"])]),
        ],
        exception_handlers={HTTPException: _http_problem},
    )
    pages.router.redirect_slashes = False
    return pages


async def _to_docs(request: Request) -> Response:
    """Whoever opens the node's bare address wants to know what is here."""
    return RedirectResponse("/docs")


async def _sql_is_off(request: Request) -> Response:
    """Whoever looks for it knows of it: what is missing is no secret."""
    return Problem(404, "a node with models answers SQL if it is started with --admin-sql").as_response()


async def _http_problem(request: Request, error: Exception) -> Response:
    """Starlette's own 404 and 405, as problems."""
    assert isinstance(error, HTTPException)
    headers = [(name.encode(), value.encode()) for name, value in (error.headers or {}).items()]
    detail = f"{request.method} {request.url.path}: {error.detail}"
    return Problem(error.status_code, detail, headers=headers).as_response()
