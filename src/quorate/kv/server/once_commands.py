"""``QUORATE.ONCE``: a write that may be sent again when its answer was lost, to any node, and is applied once.

The id travels with the proposal, and what it was answered is part of the replicated state
(:mod:`quorate.machine.sessions`), so a restart or another leader forgets neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quorate.kv.commands.inner import inner_write
from quorate.kv.replies import CommandError
from quorate.kv.server.session import LATER, NOT_IN_TRANSACTION, Session, session_command
from quorate.kv.server.transaction_commands import ended
from quorate.kv.transactions import as_request, checked_weight

ID_BYTES_MAX = 200
PREFIX = "resp:"
"""Apart from the ids of whoever else proposes to the same machine."""
WATCHED = "EXECABORT with QUORATE.ONCE there is no WATCH: sent again, it would watch other revisions. See QUORATE.CAS"


@session_command("QUORATE.ONCE", -3, group="coordination", in_transaction=True)
def once(session: Session, request: Sequence[bytes]) -> Any:
    """Carries out a write, or EXEC, once: who sends it again with the same id gets the first reply."""
    if not 0 < len(request[1]) <= ID_BYTES_MAX:
        raise CommandError(f"ERR an id has 1 to {ID_BYTES_MAX} bytes")
    if len(request) == 3 and request[2].upper() == b"EXEC":
        transaction = ended(session)
        if transaction.watched:
            raise CommandError(WATCHED)
        inner, copied = as_request(transaction), checked_weight(session.service.keyspace, transaction)
    elif session.queue is not None:
        session.is_spoiled = True
        raise CommandError(NOT_IN_TRANSACTION)
    else:
        spec, inner = inner_write(request, 2)
        if spec.blocking:
            raise CommandError(f"ERR {spec.name.decode()} may wait, and so cannot be applied once by an id")
        session.service.check(session, spec, inner)
        copied = spec.weigh(session.service.keyspace, inner) if spec.weigh is not None else 0
    session.connection.write(inner, PREFIX + request[1].decode("latin-1"), copied)
    return LATER
