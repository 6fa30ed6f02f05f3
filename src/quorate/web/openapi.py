"""What ``/openapi.json`` says of the paths that every node has, whatever models are declared."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from quorate.web.admin_sql import SqlQuestion
from quorate.web.members import MemberChange, NewLeader, NewMember


def _operation(summary: str, name: str, errors: dict[int, str], **more: Any) -> dict[str, Any]:
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    refusals = {str(status): {"description": text, "content": problem} for status, text in sorted(errors.items())}
    status = more.pop("status", "200")
    done = {status: {"description": "Done.", "content": {"application/json": {}}}}
    return {"summary": summary, "operationId": name, "tags": ["cluster"], "responses": {**done, **refusals}, **more}


_IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "description": "The ETag of GET /cluster/members: change nothing if the configuration is another one by now.",
    "schema": {"type": "string", "pattern": r'^(\*|"[0-9]{1,18}")$'},
}
_BAD_BODY = {
    400: "The body is not valid JSON.",
    413: "The body is too large.",
    415: "The body is not application/json.",
}
_UNCERTAIN = {
    503: "There is no leader, or nobody took the leadership over. Nothing was changed.",
    504: "The outcome is unknown: the change may yet come about. Look at the members before you repeat it.",
}
_CHANGE = {
    409: "Another change is under way, or this one cannot be made now.",
    400: "If-Match is no ETag, or the body is not valid JSON.",
    412: "The configuration is not the one in If-Match any more.",
    422: "The change would make no cluster, or the request is not valid.",
    **_UNCERTAIN,
}


def _change_operation(summary: str, name: str, body: type[BaseModel] | None = None, **more: Any) -> dict[str, Any]:
    parameters = [_IF_MATCH]
    if body is not None:
        schema = {"schema": body.model_json_schema()}
        more["requestBody"] = {"required": True, "content": {"application/json": schema}}
        errors = _BAD_BODY | _CHANGE | ({} if more.get("status") else {404: "There is no such member."})
        return _operation(summary, name, errors, parameters=parameters, **more)
    return _operation(summary, name, _CHANGE | {404: "There is no such member."}, parameters=parameters, **more)


_ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 1}}
_MEMBER = "/cluster/members/{id}"
OPERATIONS: dict[str, Any] = {
    "/status": {
        "get": {
            "summary": "What this node says of itself",
            "operationId": "status",
            "tags": ["node"],
            "responses": {"200": {"description": "The node's status", "content": {"application/json": {}}}},
        }
    },
    "/health": {
        "get": {
            "summary": "Whether this node can serve strong reads now",
            "operationId": "health",
            "tags": ["node"],
            "responses": {
                "200": {"description": "Ready", "content": {"application/json": {}}},
                "503": {"description": "Not ready", "content": {"application/json": {}}},
            },
        }
    },
    "/cluster/members": {
        "get": _operation("The members, as this node knows them", "members", {503: "The cluster is not formed yet."}),
        "post": _change_operation("Add a node that was started with --join", "add_member", NewMember, status="201"),
    },
    _MEMBER: {
        "parameters": [_ID],
        "get": _operation("One member", "member", {404: "There is no such member."}),
        "patch": _change_operation("Change a member's address or priority", "update_member", MemberChange),
        "delete": _change_operation("Take a member out", "remove_member"),
    },
    f"{_MEMBER}/promote": {
        "parameters": [_ID],
        "post": _change_operation("Have a learner vote once it has caught up", "promote_member"),
    },
    f"{_MEMBER}/demote": {
        "parameters": [_ID],
        "post": _change_operation("Make a voter a learner", "demote_member"),
    },
    "/cluster/leader": {
        "get": _operation("Who leads, as far as this node knows", "leader", {}),
        "post": _operation(
            "Hand the leadership over, to the fittest if no node is named",
            "transfer_leadership",
            {**_BAD_BODY, 409: "That node cannot lead.", 422: "The request is not valid.", **_UNCERTAIN},
            requestBody={"content": {"application/json": {"schema": NewLeader.model_json_schema()}}},
        ),
    },
    "/cluster/snapshot": {
        "post": _operation("Make this node's state durable and cut its log", "take_snapshot", _UNCERTAIN),
    },
}
SQL_OPERATION: dict[str, Any] = {
    "/admin/sql": {
        "post": {
            **_operation(
                "Ask for rows in SQL that only reads",
                "admin_sql",
                {
                    **_BAD_BODY,
                    422: "The statement is wrong, is not allowed, or took too long.",
                    503: "The read could not be confirmed, or too many wait.",
                },
                requestBody={
                    "required": True,
                    "content": {"application/json": {"schema": SqlQuestion.model_json_schema()}},
                },
            ),
            "tags": ["node"],
        }
    }
}
"""Where the setting ``admin_sql`` has it served."""
