"""How refusals of the models machine are answered over HTTP."""

from __future__ import annotations

from quorate.models.errors import (
    Conflict,
    Immutable,
    InTransaction,
    Invalid,
    ModelRefusal,
    NotFound,
    RuleBroken,
    VersionMismatch,
)
from quorate.rest.http import RequestError, finding


def from_refusal(refusal: ModelRefusal) -> RequestError:
    """How a refusal of the machine is answered."""
    match refusal:
        case NotFound():
            return RequestError(404, str(refusal))
        case Conflict(field=field, reason=reason, row=row):
            return RequestError(409, str(refusal), errors=[finding(field, reason, str(refusal), row)])
        case VersionMismatch():
            return RequestError(412, str(refusal))
        case RuleBroken(event=event):
            return RequestError(409, str(refusal), errors=[finding(event, "rule", str(refusal))])
        case InTransaction(position=position, refusal=inner):
            error = from_refusal(inner)
            found = error.errors or [finding("", "refused", error.detail)]
            return RequestError(error.status, str(refusal), errors=[{"operation": position, **each} for each in found])
        case Immutable(field=field):
            return RequestError(422, str(refusal), errors=[finding(field, "immutable", str(refusal))])
        case Invalid(errors=errors, row=row):
            return RequestError(422, str(refusal), errors=[finding(*error, row) for error in errors])
    return RequestError(422, str(refusal))
