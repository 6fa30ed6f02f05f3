"""Accounts between which money is moved by ``MULTI`` and ``WATCH``, with a journal in the same transactions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quorate.kv.keyspace import Keyspace
from quorate.kv.transactions import Transaction, as_request, revision_of
from quorate.testing.linearizability import Append, ListAppend, Read
from quorate.testing.simulation.clients import Client, Ended, Operation
from quorate.testing.simulation.workloads.contract import Judged
from quorate.testing.simulation.workloads.keys import KeysWorkload, Replay, Request, ask

ACCOUNTS = tuple(b"account:%d" % number for number in range(4))
JOURNAL = b"journal"
LOOK: tuple[Request, ...] = (*([b"GET", account] for account in ACCOUNTS), [b"LRANGE", JOURNAL, b"0", b"-1"])
"""Everything at once."""


class KvTransfers(KeysWorkload):
    """Money is moved, never made, never lost, and whoever looks at everything sees transfers whole.

    The journal holds each transfer, in the order of all: strictly serializable (Papadimitriou), for it is linearizable
    as one list, and every look shows the balances that its journal leads to.
    """

    name = "kv transfers"

    async def step(self, client: Client) -> Operation:
        chance = client.rng.random()
        if chance < 0.6:
            return await self._transfer(client)
        if chance < 0.75:
            return await self.write(client, client.begin("audit", "log"), as_request(Transaction([], list(LOOK))))
        consistency: Any = "strong" if chance < 0.9 else "eventually"
        return await self.read(client, client.begin("look", consistency), _look, consistency)

    async def _transfer(self, client: Client) -> Operation:
        """Read two balances as they are on some node, stale or not, and move something if they still hold."""
        source, target = client.rng.sample(ACCOUNTS, 2)
        consistency: Any = client.rng.choice(("strong", "eventually"))
        before = await self.read(
            client, client.begin("watch", consistency), lambda keyspace: _watch(keyspace, (source, target)), consistency
        )
        if before.ended is not Ended.OK:
            return before
        watched, (had, other) = before.result
        operation = client.begin("transfer", f"{source!r}→{target!r}", client.rng.randint(1, 100))
        amount = operation.argument
        note = b"%s %s %s %d" % (operation.name.encode(), source, target, amount)
        requests = [
            [b"SET", source, b"%d" % (had - amount)],
            [b"SET", target, b"%d" % (other + amount)],
            [b"RPUSH", JOURNAL, note],
        ]
        operation.argument = note
        return await self.write(client, operation, as_request(Transaction(watched, requests)))

    def judge(self, replay: Replay) -> None:
        journal: list[Judged] = []
        for operation in self.history:
            if operation.ended is not Ended.OK:
                continue
            if operation.kind == "transfer" and operation.result[0] is not None:
                journal.append((operation, "", Append(operation.argument), None))
            elif operation.kind in ("look", "audit"):
                shown = operation.result[0] if operation.kind == "audit" else operation.result
                self._check_balances(shown, operation)
                if operation.key != "eventually":
                    journal.append((operation, "", Read(), shown[-1]))
        self.check_linearizable(journal, ListAppend())

    def _check_balances(self, shown: Sequence[Any], operation: Operation) -> None:
        *balances, journal = shown
        expected = dict.fromkeys(ACCOUNTS, 0)
        for note in journal:
            _, source, target, amount = note.split()
            expected[source] -= int(amount)
            expected[target] += int(amount)
        if [int(each or 0) for each in balances] != list(expected.values()):
            self.fail(f"the balances are not those that the journal leads to, {expected}: {operation}")


def _look(keyspace: Keyspace) -> list[Any]:
    return [ask(keyspace, *request) for request in LOOK]


def _watch(keyspace: Keyspace, keys: Sequence[bytes]) -> tuple[list[tuple[bytes, int]], list[int]]:
    """The revisions of keys, and what they hold."""
    watched = [(key, revision_of(keyspace, key)) for key in keys]
    return watched, [int(each or 0) for each in ask(keyspace, b"MGET", *keys)]
