"""What a client is told of a command that was not, or may not have been, carried out."""

from __future__ import annotations

from quorate.errors import (
    NotApplied,
    OutcomeUnknown,
    ProposalDropped,
    QuorateError,
    ReadUnavailable,
    RequestIdReused,
)
from quorate.kv.replies import CommandError

NO_DATA = "CLUSTERDOWN this node is a witness: it holds no data"
NO_MEMBER = "CLUSTERDOWN this node is no member of the cluster yet: it holds no data"


def as_reply(error: QuorateError, request_id: str | None = None) -> CommandError:
    """``request_id`` is that with which it may be sent again."""
    if isinstance(error, OutcomeUnknown):
        advice = "" if request_id is None else "; with the same id it may be sent again"
        return CommandError(
            f"UNKNOWN the outcome is unknown, the command may have been or may yet be applied{advice}: {error}"
        )
    if isinstance(error, RequestIdReused):
        return CommandError("IDREUSED this id belongs to another command")
    if isinstance(error, ProposalDropped):
        return CommandError(f"TRYAGAIN not applied: {error}")
    if isinstance(error, (NotApplied, ReadUnavailable)):
        return CommandError(f"CLUSTERDOWN {error}")
    return CommandError(f"ERR {error}")
