"""SQL that is asked by hand: it reads what it may, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from quorate.errors import ReadUnavailable
from quorate.machine.queries import TooExpensive
from quorate.models import Model, field
from quorate.models.model import schema_of
from quorate.models.query import adhoc
from quorate.models.query.adhoc import BadSql, Result, Visible, ask, prepare_for
from quorate.models.store.decimals import sortable

from .query_support import Item
from .support import Client, serving


class Account(Model):
    id: UUID = field(primary_key=True)
    owner: str = field(track_history=True)
    pin: str = field(expose=False, track_history=True)


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[Client]:
    with serving(tmp_path / "db", Account, Item) as (accounts, _):
        yield accounts


async def sql(client: Client, text: str, *parameters: Any) -> Result:
    queries = client.engine.replica.machine.queries
    client.engine.flush()
    prepare = prepare_for(Visible([schema_of(Account), schema_of(Item)]))
    return await queries.in_thread(lambda connection: ask(connection, text, parameters), prepare)


async def test_it_answers_rows_under_the_names_of_their_columns(accounts: Client) -> None:
    created = await accounts.json("POST", "", {"owner": "ada", "pin": "1234"})
    found = await sql(accounts, "SELECT uuid(id) AS id, owner, count(*) FROM model_account WHERE owner = ?", "ada")
    assert found == (["id", "owner", "count(*)"], [[created["id"], "ada", 1]], False)
    assert await sql(accounts, "SELECT 1 AS one WHERE 0") == (["one"], [], False)


async def test_decimals_and_uuids_are_shown_as_people_write_them(accounts: Client) -> None:
    for plain in ("19.99", "0", "-0.5", "100"):
        assert (await sql(accounts, "SELECT decimal(?)", sortable(plain))).rows == [[plain]]
    assert (await sql(accounts, "SELECT decimal(NULL), uuid(NULL), x'00ff'")).rows == [[None, None, "00ff"]]
    for wrong in ("SELECT decimal('19.99')", "SELECT decimal(5)", "SELECT uuid('x')"):
        with pytest.raises(BadSql, match="takes a stored"):
            await sql(accounts, wrong)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT pin FROM model_account",
        "SELECT * FROM model_account",
        "SELECT owner FROM model_account WHERE pin LIKE '1%'",
        "SELECT owner FROM model_account ORDER BY pin",
        "SELECT (SELECT max(pin) FROM model_account)",
        "SELECT changes FROM history_model_account",
        "SELECT data FROM quorate_events",
        "SELECT guess.pin FROM model_account JOIN (SELECT '1234' AS pin) AS guess USING (pin)",
        "SELECT count(*) FROM model_account NATURAL/**/JOIN (SELECT '1234' AS pin)",
        "SELECT guess.owner FROM model_item JOIN model_item AS guess ON ?1natural JOIN model_account",
        "SELECT * FROM quorate_requests",
        "SELECT * FROM quorate_applied",
        "SELECT count(*) FROM quorate_applied",
        "SELECT count(*) FROM sqlite_master",
        "SELECT count(*) FROM pragma_table_info('model_account')",
        "SELECT count(*) FROM (SELECT pin FROM model_account)",
        "SELECT * FROM sqlite_master",
        "SELECT * FROM pragma_table_info('model_account')",
        "SELECT sql FROM sqlite_schema",
        "SELECT * FROM dbstat",
        "PRAGMA query_only = off",
        "PRAGMA table_info(model_account)",
        "DELETE FROM model_item",
        "INSERT INTO model_item (id) VALUES (1)",
        "CREATE TABLE mine (a)",
        "CREATE TEMP TABLE mine (a)",
        "ATTACH DATABASE '/tmp/other' AS other",
        "BEGIN",
        "VACUUM INTO '/tmp/copy'",
        "SELECT load_extension('x')",
        "SELECT 1; SELECT 2",
        "SELECT 1; DELETE FROM model_item",
        "SELEC 1",
        "SELECT ?",
        "SELECT zeroblob(100000000)",
        "",
    ],
)
async def test_what_it_may_not_is_refused(accounts: Client, text: str) -> None:
    await accounts.json("POST", "", {"owner": "ada", "pin": "1234"})
    if text:
        with pytest.raises(BadSql) as refused:
            await sql(accounts, text)
        assert "1234" not in str(refused.value)
    else:
        assert await sql(accounts, text) == ([], [], False)
    assert await accounts.json("GET", "count") == {"count": 1}


async def test_what_may_be_read(accounts: Client) -> None:
    await accounts.json("POST", "", {"owner": "ada", "pin": "1234"})
    for text in (
        "SELECT owner, _version FROM model_account",
        "SELECT sequence, model, kind FROM quorate_events",
        "SELECT sequence, actor FROM history_model_account",
        "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 3) SELECT upper('a'), x FROM n",
        "SELECT value FROM json_each('[1, 2]')",
        "EXPLAIN QUERY PLAN SELECT owner FROM model_account",
    ):
        assert (await sql(accounts, text)).rows


async def test_rows_bytes_and_time_are_bounded(accounts: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    endless = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x, printf('%1000d', x) FROM n"
    found = await sql(accounts, endless)
    assert found.truncated
    assert len(found.rows) < adhoc.ROWS_MAX
    monkeypatch.setattr(adhoc, "BYTES_MAX", 1 << 40)
    found = await sql(accounts, endless)
    assert (found.truncated, len(found.rows)) == (True, adhoc.ROWS_MAX)
    monkeypatch.setattr("quorate.machine.queries.QUERY_SECONDS_MAX", 0.05)
    with pytest.raises(TooExpensive):
        await sql(accounts, f"SELECT count(*) FROM ({endless})")
    accounts.engine.replica.machine.queries.close()
    with pytest.raises(ReadUnavailable):
        await sql(accounts, "SELECT 1")
