"""Queries in Debian's PostgreSQL: values, failures, a server that goes away and comes back, and passwords."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from letterlock.lookups import postgresql_rows, queries
from letterlock.lookups.postgresql_rows import (
    BadConnectionText,
    PostgresDatabase,
    PostgresRows,
    check_connection_text,
)
from letterlock.lookups.queries import LookupFailed
from letterlock.mail.addresses import Mailbox
from letterlock.recipients.directory import TableFailed
from letterlock.recipients.targets import Name
from letterlock.tables.row_table import RowTable
from tests.interop.lab import public_directory
from tests.interop.nameservers import Place
from tests.interop.postgresql import PASSWORD, Postgresql, initialised, postgresql
from tests.interop.programs import loopback_prefix

pytestmark = pytest.mark.interop
QUERY = "SELECT target FROM alias WHERE address = :key"


@pytest.fixture(name="place", scope="module")
def place_fixture() -> Place:
    return Place.free(f"{loopback_prefix()}.54")


@pytest.fixture(name="cluster", scope="module")
def cluster_fixture() -> Iterator[Path]:
    with public_directory() as directory:
        yield initialised(directory / "cluster")


@pytest.fixture(name="server", scope="module")
def server_fixture(cluster: Path, place: Place) -> Iterator[Postgresql]:
    with postgresql(cluster.parent, cluster, place) as running:
        running.sql(
            "CREATE TABLE alias (address text, target varchar(200));"
            "INSERT INTO alias VALUES ('info@example.org', 'ann, bob@example.net'), ('info@example.org', 'carl'),"
            "('ann@example.org', NULL), ('bad@example.org', '|/bin/sh')"
        )
        yield running


def database(server: Postgresql, password: str | None = PASSWORD, *, connections: int = 2) -> PostgresDatabase:
    return PostgresDatabase("mail", server.text, lambda: password, max_connections=connections, seconds=5.0)


async def test_a_table_in_postgresql_is_like_any_other(server: Postgresql) -> None:
    mail = database(server)
    table = RowTable("sql", PostgresRows(mail, QUERY))
    assert await table.find("info@example.org") == (Name("ann"), Mailbox("bob", "example.net"), Name("carl"))
    assert await table.find("ann@example.org") == ()
    assert await table.find("eve@example.org") is None
    assert await table.find("x' OR '1'='1") is None
    with pytest.raises(TableFailed, match="a command"):
        await table.find("bad@example.org")
    mail.close()


async def test_parts_of_the_key_and_signs_of_sql(server: Postgresql) -> None:
    mail = database(server)
    query = "SELECT target::text FROM alias WHERE address = :local || '@' || :domain AND target LIKE 'a%b%'"
    assert await RowTable("sql", PostgresRows(mail, query)).find("info@example.org") == (
        Name("ann"),
        Mailbox("bob", "example.net"),
    )
    mail.close()


async def test_many_at_once_share_a_few_connections(server: Postgresql) -> None:
    mail = database(server)
    source = PostgresRows(mail, "SELECT pg_backend_pid()::text, :key")
    found = await asyncio.gather(*(source.rows({"key": str(number)}) for number in range(30)))
    assert [row[1] for [row] in found] == [str(number) for number in range(30)]
    assert len({row[0] for [row] in found}) <= 2
    mail.close()


@pytest.mark.parametrize("query", ["SELECT nothing FROM alias", "DELETE FROM alias WHERE false", "SELECT 1; SELECT 2"])
async def test_a_query_that_cannot_be_run_fails_and_hurts_no_other(server: Postgresql, query: str) -> None:
    mail = database(server, connections=1)
    for _ in range(2):
        with pytest.raises(LookupFailed, match="database mail: "):
            await PostgresRows(mail, query).rows({"key": "x"})
    assert await PostgresRows(mail, QUERY).rows({"key": "ann@example.org"}) == [(None,)]
    mail.close()


async def test_a_query_without_an_end_is_stopped_at_the_server_too(server: Postgresql) -> None:
    mail = PostgresDatabase("mail", server.text, lambda: PASSWORD, max_connections=1, seconds=0.3)
    with pytest.raises(LookupFailed, match=r"no answer within 0\.3 seconds"):
        await PostgresRows(mail, "SELECT pg_sleep(60)::text, :key").rows({"key": "x"})
    await settled(mail)
    running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%' AND state = 'active'"
    assert server.sql(running).strip() == "0"
    mail.close()


async def test_more_rows_than_any_entry_has(server: Postgresql, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql_rows, "MAX_ROWS", 10)
    assert queries.MAX_ROWS > 10
    mail = database(server)
    with pytest.raises(LookupFailed, match="more than 10 rows"):
        await PostgresRows(mail, "SELECT :key || n FROM generate_series(1, 1000) AS n").rows({"key": "x"})
    assert await PostgresRows(mail, QUERY).rows({"key": "eve"}) == []
    mail.close()


@pytest.mark.parametrize("password", ["wrong", None])
async def test_a_wrong_password_is_a_failure_and_stays_secret(server: Postgresql, password: str | None) -> None:
    with pytest.raises(LookupFailed) as caught:
        await PostgresRows(database(server, password), QUERY).rows({"key": "x"})
    assert "password" in str(caught.value)
    assert "wrong" not in str(caught.value).replace("wrong password", "")
    assert "\n" not in str(caught.value)


async def test_a_connection_that_was_ended_is_made_again(server: Postgresql) -> None:
    mail = database(server, connections=1)
    source = PostgresRows(mail, QUERY)
    assert await source.rows({"key": "eve"}) == []
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE client_addr IS NOT NULL")
    assert await source.rows({"key": "ann@example.org"}) == [(None,)]
    mail.close()


async def test_a_connection_that_nobody_needs_ends(server: Postgresql, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql_rows, "IDLE_SECONDS", 0.0)
    mail = database(server)
    assert await PostgresRows(mail, QUERY).rows({"key": "eve"}) == []
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert mail._idle == []


async def test_a_database_that_is_away_is_no_empty_table(
    cluster: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_rows, "RETRY_SECONDS", 0.0)
    text = f"host={place.address} port=9 dbname=postgres user=postgres"
    mail = PostgresDatabase("mail", text, lambda: PASSWORD, max_connections=2, seconds=5.0)
    with pytest.raises(LookupFailed, match=r"database mail: .*refused"):
        await PostgresRows(mail, QUERY).rows({"key": "x"})


async def settled(mail: PostgresDatabase) -> None:
    """What was stopped has ended."""
    if mail._stopping:
        await asyncio.wait(mail._stopping)
    assert mail._used == {}


async def test_a_server_that_hangs_is_waited_for_only_so_long(server: Postgresql) -> None:
    mail = PostgresDatabase("mail", server.text, lambda: PASSWORD, max_connections=2, seconds=1.0)
    [[pid]] = await PostgresRows(mail, "SELECT pg_backend_pid()::text || :key").rows({"key": ""})
    mail._seconds = 0.2
    with ExitStack() as stack:
        os.kill(int(str(pid)), signal.SIGSTOP)
        stack.callback(os.kill, int(str(pid)), signal.SIGCONT)
        with pytest.raises(LookupFailed, match="no answer within"):
            await PostgresRows(mail, QUERY).rows({"key": "eve"})
        mail._seconds = 5.0
        found = await PostgresRows(mail, QUERY).rows({"key": "eve"})
        assert found == [], "others have connections of their own"
    await settled(mail)
    mail.close()


async def test_a_server_that_does_not_even_stop_is_cut_off(server: Postgresql, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql_rows, "STOP_SECONDS", 0.0)
    mail = PostgresDatabase("mail", server.text, lambda: PASSWORD, max_connections=1, seconds=0.3)
    with pytest.raises(LookupFailed, match="no answer within"):
        await PostgresRows(mail, "SELECT pg_sleep(60)::text, :key").rows({"key": "x"})
    await settled(mail)
    mail.close()


@pytest.mark.parametrize(
    ("text", "has_password"),
    [
        ("host=/run/postgresql dbname=mail user=letterlock", False),
        ("postgresql://letterlock@/mail", False),
        ("postgresql://letterlock:secret@/mail", True),
        ("dbname=mail password='secret'", True),
    ],
)
def test_connection_strings(text: str, has_password: bool) -> None:
    assert check_connection_text(text) is has_password


@pytest.mark.parametrize("text", ["secret", "host=a pasword=secret", "postgresql://a:secret@[x"])
def test_a_bad_connection_string_is_not_repeated(text: str) -> None:
    with pytest.raises(BadConnectionText) as caught:
        check_connection_text(text)
    assert "secret" not in str(caught.value)
