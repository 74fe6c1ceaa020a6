"""Routes with a login: the password goes to a server that is authenticated, and to nobody else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from letterlock.accounts import guessing
from letterlock.accounts.file_store import FileStore
from letterlock.accounts.stored import StoredAccounts
from letterlock.accounts.user_file import make_user, new_file, write_users
from letterlock.deliver.attempt import attempt
from letterlock.deliver.options import DeliverOptions
from letterlock.deliver.pool import SessionPool
from letterlock.deliver.session import Ports
from letterlock.net.dial import TcpDialer
from letterlock.net.tls import ServerContext
from letterlock.queue.tasks import Attempt, OutcomeKind
from letterlock.receive.options import ReceiveOptions
from letterlock.receive.profiles import Profile, Role
from letterlock.resolver.answer import Security
from letterlock.sasl.client_login import Credentials
from tests.accounts.logins import NOT_REMEMBERED
from tests.certificates import Credential
from tests.deliver.world import (
    ADDRESS,
    OPTIONS,
    HandClock,
    HandDiscoverer,
    MemoryDialer,
    Server,
    answer,
    as_they_are,
    dane_ee,
    make_task,
)
from tests.receive.world import World, world

SENDER = "sender@example.net"
PASSWORD = "correct horse"  # of a test
BODY = b"Subject: hello\r\n\r\nhello\r\n"


@pytest.fixture(autouse=True)
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guessing, "FIRST_DELAY_SECONDS", 0.0)


@asynccontextmanager
async def submission_server(context: ServerContext, tmp_path: Path) -> AsyncIterator[World]:
    """A relay host: our own submission server with one user."""
    content = new_file()
    content.users[SENDER] = make_user(SENDER, PASSWORD, (SENDER,))
    write_users(tmp_path / "users", content)
    options = ReceiveOptions(
        hostname="mx.example.org", accounts=StoredAccounts(FileStore(tmp_path / "users", NOT_REMEMBERED))
    )
    profile = Profile(role=Role.SUBMISSION, tls=context, relay_networks=())
    async with world(options, profile) as running:
        yield running


def ports(credential: Credential, port: int) -> Ports:
    """Evidence that the relay host is at loopback, with DANE for its certificate."""
    record = answer(f"_{port}._tcp.mx.example.org", "TLSA", dane_ee(credential), security=Security.SECURE)
    discoverer = HandDiscoverer(hosts={"mx.example.org": ("127.0.0.1",)}, tlsa={"mx.example.org": record})
    return Ports(discoverer=discoverer, dialer=TcpDialer(), clock=HandClock(), shuffle=as_they_are)


def options(port: int, password: str = PASSWORD) -> DeliverOptions:
    return replace(OPTIONS, port=port, login=Credentials(SENDER, password))


def kinds(made: Attempt) -> list[OutcomeKind]:
    return list(dict.fromkeys(outcome.kind for outcome in made.outcomes))


async def test_rfc4954_4_mail_is_sent_after_a_login(
    context: ServerContext, credential: Credential, tmp_path: Path
) -> None:
    async with submission_server(context, tmp_path) as relay:
        port = relay.address[1]
        made = await attempt(make_task(), BODY, ports=ports(credential, port), options=options(port))
        assert kinds(made) == [OutcomeKind.DELIVERED], made
        [(envelope, _, _)] = relay.store.kept
        assert str(envelope.reverse_path) == SENDER


async def test_a_refused_login_puts_mail_off_and_never_bounces_it(
    context: ServerContext, credential: Credential, tmp_path: Path
) -> None:
    async with submission_server(context, tmp_path) as relay:
        port = relay.address[1]
        made = await attempt(make_task(), BODY, ports=ports(credential, port), options=options(port, "wrong"))
        assert kinds(made) == [OutcomeKind.DEFERRED]
        assert "refused our login: 535" in made.outcomes[0].text
        assert "wrong" not in made.outcomes[0].text
        assert relay.store.kept == []


async def test_a_session_is_not_shared_by_users(context: ServerContext, credential: Credential, tmp_path: Path) -> None:
    async with submission_server(context, tmp_path) as relay:
        port = relay.address[1]
        seen, pool = ports(credential, port), SessionPool(HandClock(), options(port))
        await attempt(make_task(), BODY, ports=seen, options=options(port), pool=pool)
        again = await attempt(make_task(), BODY, ports=seen, options=options(port), pool=pool)
        other = replace(options(port), login=Credentials("other@example.net", "x"))
        refused = await attempt(make_task(), BODY, ports=seen, options=other, pool=pool)
        without = await attempt(make_task(), BODY, ports=seen, options=replace(other, login=None), pool=pool)
        await pool.close()
    assert kinds(again) == [OutcomeKind.DELIVERED]
    assert kinds(refused) == [OutcomeKind.DEFERRED]
    assert kinds(without) != [OutcomeKind.DELIVERED]


async def test_a_server_that_was_not_authenticated_never_sees_the_password(context: ServerContext) -> None:
    """Whoever is on the path can show any certificate: where none is verified, there is no login."""
    server = Server(context)
    seen = Ports(
        discoverer=HandDiscoverer(hosts={"mx.example.org": (ADDRESS,)}),
        dialer=MemoryDialer({ADDRESS: server}),
        clock=HandClock(),
        shuffle=as_they_are,
    )
    made = await attempt(make_task(), BODY, ports=seen, options=replace(OPTIONS, login=Credentials(SENDER, PASSWORD)))
    assert kinds(made) == [OutcomeKind.DEFERRED]
    assert "the login was not sent" in made.outcomes[0].text
    assert not [line for line in (*server.clear, *server.secret) if line.startswith("AUTH")]
    assert server.messages == []


async def test_a_server_without_auth_is_told_apart(context: ServerContext, credential: Credential) -> None:
    record = answer("_25._tcp.mx.example.org", "TLSA", dane_ee(credential), security=Security.SECURE)
    seen = Ports(
        discoverer=HandDiscoverer(hosts={"mx.example.org": (ADDRESS,)}, tlsa={"mx.example.org": record}),
        dialer=MemoryDialer({ADDRESS: Server(context)}),
        clock=HandClock(),
        shuffle=as_they_are,
    )
    made = await attempt(make_task(), BODY, ports=seen, options=options(25))
    assert kinds(made) == [OutcomeKind.DEFERRED]
    assert "cannot log in: the server offers no mechanism" in made.outcomes[0].text
