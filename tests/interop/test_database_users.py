"""A listener whose users, aliases, mailboxes and senders are in PostgreSQL, while it is there and while it is not."""

from collections.abc import Iterator

import pytest

from letterlock.accounts import guessing
from letterlock.accounts.sql_store import SqlStore
from letterlock.accounts.stored import StoredAccounts
from letterlock.lookups import postgresql_rows
from letterlock.lookups.postgresql_rows import PostgresDatabase, PostgresRows
from letterlock.net.tls import ServerContext
from letterlock.receive.options import ReceiveOptions
from letterlock.receive.profiles import Profile, Role
from letterlock.recipients.directory import Directory, LocalDomain
from letterlock.recipients.site import LocalSite
from letterlock.tables.row_table import RowTable
from tests.accounts.logins import NOT_REMEMBERED
from tests.accounts.test_password_hashes import MADE, PASSWORD
from tests.certificates import authority
from tests.interop.lab import public_directory
from tests.interop.nameservers import Place
from tests.interop.postgresql import PASSWORD as DATABASE_PASSWORD
from tests.interop.postgresql import Postgresql, initialised, postgresql
from tests.interop.programs import loopback_prefix
from tests.receive.test_auth import Talk, talk
from tests.receive.world import world

pytestmark = pytest.mark.interop
ANN = b"ann@example.org"
PLAIN = b"\0" + ANN + b"\0" + PASSWORD.encode()
_TABLES = """
CREATE TABLE users (name text PRIMARY KEY, password text, addresses text);
INSERT INTO users VALUES
  ('ann@example.org', '{SHA512-CRYPT}HASH', 'ann@example.org, @news.example.org');
CREATE TABLE alias (address text, target text);
INSERT INTO alias VALUES ('info@example.org', 'ann@example.org'), ('old@example.org', 'error:550 5.1.6 moved');
CREATE TABLE mailbox (address text);
INSERT INTO mailbox VALUES ('ann@example.org');
CREATE TABLE sender (address text, login text);
INSERT INTO sender VALUES ('info@example.org', 'ann@example.org');
"""


@pytest.fixture(name="server", scope="module")
def server_fixture() -> Iterator[Postgresql]:
    with public_directory() as directory:
        place = Place.free(f"{loopback_prefix()}.54")
        with postgresql(directory / "cluster", initialised(directory / "cluster"), place) as running:
            running.sql(_TABLES.replace("HASH", MADE["SHA512-CRYPT"]))
            yield running


@pytest.fixture(name="profile", scope="module")
def profile_fixture(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    directory = tmp_path_factory.mktemp("certificate")
    context = ServerContext.load(*authority().leaf("mx.example.org").write(directory))
    return Profile(role=Role.SUBMISSIONS, tls=context, relay_networks=())


@pytest.fixture(autouse=True)
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guessing, "FIRST_DELAY_SECONDS", 0.0)
    monkeypatch.setattr(postgresql_rows, "RETRY_SECONDS", 0.0)


def options(database: PostgresDatabase) -> ReceiveOptions:
    def rows(query: str) -> PostgresRows:
        return PostgresRows(database, query)

    aliases = RowTable("aliases", rows("SELECT target FROM alias WHERE address = :key"))
    mailboxes = RowTable("mailboxes", rows("SELECT NULL FROM mailbox WHERE address = :key"))
    senders = RowTable("senders", rows("SELECT login FROM sender WHERE address = :key"))
    users = SqlStore(rows("SELECT password, addresses FROM users WHERE name = lower(:user)"), NOT_REMEMBERED)
    return ReceiveOptions(
        hostname="mx.example.org",
        accounts=StoredAccounts(users),
        sender_tables=(senders,),
        site=LocalSite(Directory({"example.org": LocalDomain(aliases=(aliases,), mailboxes=(mailboxes,))})),
        databases=(database,),
    )


async def test_users_and_recipients_of_a_database(server: Postgresql, profile: Profile) -> None:
    def say(client: Talk) -> list[bytes]:
        lines = [b"MAIL FROM:<%b>" % sender for sender in (b"bob@example.org", b"a@news.example.org")]
        lines += [b"RSET", b"MAIL FROM:<info@example.org>"]
        names = (b"info", b"ann", b"ann+x", b"eve", b"old")
        lines += [b"RCPT TO:<%b@example.org>" % name for name in names]
        return [client.auth(b"PLAIN", PLAIN + b"x"), client.auth(b"PLAIN", PLAIN), *map(client.ask, lines)]

    database = PostgresDatabase("mail", server.text, lambda: DATABASE_PASSWORD, max_connections=2, seconds=5.0)
    async with world(options(database), profile) as listener:
        said = await talk(listener, say)
    assert [reply[:9].decode() for reply in said] == [
        "535 5.7.8",
        "235 2.7.0",
        "553 5.7.1",
        "250 2.1.0",
        "250 2.0.0",
        "250 2.1.0",
        "250 2.1.5",
        "250 2.1.5",
        "250 2.1.5",
        "550 5.1.1",
        "550 5.1.6",
    ]
    assert database._idle == [], "the listener ends the connections"


async def test_while_the_database_is_away_nothing_is_refused_for_good(server: Postgresql, profile: Profile) -> None:
    database = PostgresDatabase("mail", server.text, lambda: DATABASE_PASSWORD, max_connections=2, seconds=5.0)
    there = database._text

    def say(client: Talk) -> list[bytes]:
        said = [client.auth(b"PLAIN", PLAIN)]
        database.close()
        database._text = there.replace(f"port={server.place.port}", "port=9")
        said.append(client.ask(b"MAIL FROM:<ann@example.org>"))
        database._text = there
        said.append(client.ask(b"MAIL FROM:<ann@example.org>"))
        database.close()
        database._text = there.replace(f"port={server.place.port}", "port=9")
        said.append(client.ask(b"RCPT TO:<info@example.org>"))
        client.ask(b"RSET")
        return said

    async with world(options(database), profile) as listener:
        said = await talk(listener, say)
        assert [reply[:9] for reply in said] == [b"235 2.7.0", b"451 4.3.0", b"250 2.1.0", b"451 4.3.0"]
        reply = await talk(listener, lambda client: client.auth(b"PLAIN", PLAIN))
    assert reply == b"454 4.7.0 Temporary authentication failure\r\n"
