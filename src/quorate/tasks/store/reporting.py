"""How leases end: with a result, a failure, or given back."""

from __future__ import annotations

from random import Random

from quorate.machine.contract import ApplyContext
from quorate.tasks.commands import Completed, Failed, Released, Report
from quorate.tasks.errors import DoneBefore, StaleToken
from quorate.tasks.lifecycle import Event, Facts, State
from quorate.tasks.store.rows import Row, Rows, decode_options

STALE = "stale"
JITTER = 0.2
"""A back-off is longer by up to this share of it, so that what failed together is not tried again together."""


class Reporting:
    """Ends leases."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._connection = rows.connection

    def report(self, command: Report, context: ApplyContext) -> list[str]:
        """See :class:`Report`."""
        outcomes = [self._complete(each, context.time_us, command.strict) for each in command.completed]
        if command.failed:
            random = Random(context.random_seed)
            outcomes += [self._fail(each, context.time_us, random, command.strict) for each in command.failed]
        outcomes += [self._release(each, context.time_us, command.strict) for each in command.released]
        return outcomes

    def _complete(self, completed: Completed, time_us: int, strict: bool) -> str:
        row = self._leased(completed, strict)
        if isinstance(row, str):
            return row
        return self._rows.end(row, Event.COMPLETE, time_us, result=completed.result).label

    def _fail(self, failed: Failed, time_us: int, random: Random, strict: bool) -> str:
        row = self._leased(failed, strict)
        if isinstance(row, str):
            return row
        facts = Facts(may_retry=failed.may_retry and row.attempt < row.attempts_max)
        if not facts.may_retry:
            reason = "failed" if failed.may_retry else "rejected"
            return self._rows.end(row, Event.FAIL, time_us, facts=facts, reason=reason, error=failed.error).label
        state = self._rows.moved(row, Event.FAIL, time_us, facts, worker=row.worker, reason="failed")
        pause_us = failed.delay_ms * 1000 if failed.delay_ms >= 0 else backoff_us(row, random)
        next_us = time_us + pause_us if row.expires_us is None else min(time_us + pause_us, row.expires_us)
        self._connection.execute(
            "UPDATE task SET state = ?, next_us = ?, error = ? WHERE sequence = ?",
            (state, next_us, failed.error, row.sequence),
        )
        return state.label

    def _release(self, released: Released, time_us: int, strict: bool) -> str:
        row = self._leased(released, strict)
        if isinstance(row, str):
            return row
        self._rows.make_ready(row, Event.RELEASE, time_us, attempt=row.attempt - 1, reason="released")
        return State.READY.label

    def _leased(self, ended: Completed | Failed | Released, strict: bool) -> Row | str:
        """The task under that lease; what to answer if it is not under it.

        A task that its worker has completed, or failed, keeps the token of that lease: of a report that comes again
        the state is the answer. With ``strict`` raises :class:`StaleToken` or :class:`DoneBefore` instead.
        """
        row = self._rows.find(ended.id)
        if row is None or row.token != ended.token:
            if strict:
                raise StaleToken(ended.id, ended.token)
            return STALE
        state = State(row.state)
        if state is State.RUNNING:
            return row
        if strict:
            is_again = isinstance(ended, Completed) == (state is State.SUCCEEDED)
            raise (DoneBefore if is_again else StaleToken)(ended.id, ended.token)
        return state.label


def backoff_us(row: Row, random: Random) -> int:
    """The pause behind a failed attempt: doubled with each, bounded, and not the same for all."""
    options = decode_options(row.options)
    longest_us = options.backoff_ms_max * 1000
    pause_us = min(longest_us, options.backoff_ms * 1000 << min(row.attempt - 1, 40))
    return min(longest_us, round(pause_us * (1 + JITTER * random.random())))
