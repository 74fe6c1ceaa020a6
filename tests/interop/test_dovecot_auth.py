"""Logins that a real Dovecot answers over its auth socket, from a client inside TLS to the reply."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from letterlock.accounts import dovecot, guessing
from letterlock.accounts.dovecot import DovecotAccounts
from letterlock.net.service_address import ServiceAddress
from letterlock.net.tls import ServerContext
from letterlock.receive.options import ReceiveOptions
from letterlock.receive.profiles import Profile, Role
from tests.certificates import authority
from tests.interop.dovecot_auth import ANN, DENIED, PASSWORD, DovecotAuth, dovecot_auth, token
from tests.interop.lab import public_directory
from tests.receive.test_auth import Talk, talk
from tests.receive.world import world

pytestmark = pytest.mark.interop
NAME = ANN.encode()
PLAIN = b"\0" + NAME + b"\0" + PASSWORD.encode()


@pytest.fixture(name="backend", scope="module")
def backend_fixture() -> Iterator[DovecotAuth]:
    with public_directory() as directory, dovecot_auth(directory / "dovecot") as running:
        yield running


@pytest.fixture(name="context", scope="module")
def context_fixture(tmp_path_factory: pytest.TempPathFactory) -> ServerContext:
    directory = tmp_path_factory.mktemp("certificate")
    return ServerContext.load(*authority().leaf("mx.example.org").write(directory))


@pytest.fixture(autouse=True)
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guessing, "FIRST_DELAY_SECONDS", 0.0)


def options(socket: Path) -> ReceiveOptions:
    accounts = DovecotAccounts(ServiceAddress(str(socket)).connect, f"unix:{socket}")
    return ReceiveOptions(hostname="mx.example.org", accounts=accounts)


def profile(context: ServerContext) -> Profile:
    return Profile(role=Role.SUBMISSIONS, tls=context, relay_networks=())


def bearer(text: str) -> bytes:
    return b"n,a=" + NAME + b",\1host=mx.example.org\1port=465\1auth=Bearer " + text.encode() + b"\1\1"


def xoauth2(text: str) -> bytes:
    return b"user=" + NAME + b"\1auth=Bearer " + text.encode() + b"\1\1"


async def test_the_mechanisms_of_dovecot_are_offered(backend: DovecotAuth, context: ServerContext) -> None:
    async with world(options(backend.socket), profile(context)) as server:
        offers = await talk(server, lambda client: client.offers)
    assert b"-AUTH SCRAM-SHA-256 OAUTHBEARER XOAUTH2 PLAIN LOGIN\r\n" in offers


@pytest.mark.parametrize(
    "login",
    [
        lambda client: client.auth(b"PLAIN", PLAIN),
        lambda client: client.auth(b"LOGIN", NAME, PASSWORD.encode()),
        lambda client: client.scram(NAME, PASSWORD.encode()),
        lambda client: client.auth(b"OAUTHBEARER", bearer(token(ANN))),
        lambda client: client.auth(b"OAUTHBEARER", bearer(token(ANN, extra="x" * 4000))),
        lambda client: client.auth(b"XOAUTH2", xoauth2(token(ANN))),
        lambda client: (client.ask(b"AUTH LOGIN"), client.auth(b"PLAIN", PLAIN))[1][:0] or client.auth(b"PLAIN", PLAIN),
    ],
    ids=["PLAIN", "LOGIN", "SCRAM", "OAUTHBEARER", "a large token", "XOAUTH2", "after a broken start"],
)
async def test_rfc4954_4_a_user_of_dovecot_logs_in_and_sends(
    backend: DovecotAuth, context: ServerContext, login: Callable[[Talk], bytes]
) -> None:
    def say(client: Talk) -> list[bytes]:
        senders = (b"MAIL FROM:<bob@example.org>", b"MAIL FROM:<ann@example.org>")
        return [login(client), *(client.ask(line)[:3] for line in senders)]

    async with world(options(backend.socket), profile(context)) as server:
        assert await talk(server, say) == [b"235 2.7.0 Authentication successful\r\n", b"553", b"250"]


@pytest.mark.parametrize(
    "login",
    [
        lambda client: client.auth(b"PLAIN", PLAIN + b"x"),
        lambda client: client.auth(b"PLAIN", b"\0nobody@example.org\0x"),
        lambda client: client.auth(b"PLAIN", b"\0" + DENIED.encode() + b"\0" + PASSWORD.encode()),
        lambda client: client.auth(b"PLAIN", b"rubbish"),
        lambda client: client.auth(b"LOGIN", NAME, b"x"),
        lambda client: client.scram(NAME, b"x"),
        lambda client: client.scram(b"nobody@example.org", b"x"),
        lambda client: client.auth(b"OAUTHBEARER", b"rubbish"),
        lambda client: client.auth(b"PLAIN", b"\0" + NAME + b"\0" + b"x" * 8000),
    ],
    ids=["password", "user", "nologin", "malformed", "LOGIN", "SCRAM", "SCRAM user", "OAUTH malformed", "long"],
)
async def test_rfc4954_6_whatever_dovecot_refuses_the_reply_is_the_same(
    backend: DovecotAuth, context: ServerContext, login: Callable[[Talk], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    async with world(options(backend.socket), profile(context)) as server:
        assert await talk(server, login) == b"535 5.7.8 Authentication credentials invalid\r\n"
    [record] = [each for each in caplog.records if "authentication failed" in each.getMessage()]
    assert "unknown[127.0.0.1]: SASL " in record.getMessage()
    assert PASSWORD not in caplog.text


@pytest.mark.parametrize("dummy", [b"\1", b""], ids=["RFC 7628", "as XOAUTH2 has it"])
@pytest.mark.parametrize(("mechanism", "message"), [(b"OAUTHBEARER", bearer), (b"XOAUTH2", xoauth2)])
@pytest.mark.parametrize("what", ["expired", "forged"])
async def test_rfc7628_3_2_3_a_failure_has_its_reason_in_a_challenge(
    backend: DovecotAuth,
    context: ServerContext,
    mechanism: bytes,
    message: Callable[[str], bytes],
    what: str,
    dummy: bytes,
) -> None:
    bad = token(ANN, lifetime=-100) if what == "expired" else token(ANN, key=b"another key")

    def say(client: Talk) -> list[bytes]:
        challenge = client.auth(mechanism, message(bad))
        reason = client.ask(b"AQ==" if dummy else b"")
        return [challenge, reason, client.auth(mechanism, message(token(ANN)))[:3]]

    async with world(options(backend.socket), profile(context)) as server:
        challenge, reply, again = await talk(server, say)
    assert challenge.startswith(b"334 eyJzdGF0dXMiOi")  # {"status":
    assert reply == b"535 5.7.8 Authentication credentials invalid\r\n"
    assert again == b"235"


async def test_rfc4954_6_while_dovecot_is_away_nobody_is_refused_for_good(
    backend: DovecotAuth, context: ServerContext, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dovecot, "RETRY_SECONDS", 0.0)
    hidden = backend.socket.with_suffix(".hidden")

    def say(client: Talk) -> list[bytes]:
        backend.socket.rename(hidden)
        try:
            replies = [client.auth(b"PLAIN", PLAIN) for _ in range(2)]
        finally:
            hidden.rename(backend.socket)
        return [*replies, client.auth(b"PLAIN", PLAIN)]

    settings = options(backend.socket)
    async with world(settings, profile(context)) as server:
        assert isinstance(settings.accounts, DovecotAccounts)
        monkeypatch.setattr(settings.accounts, "_known", ("PLAIN",))
        monkeypatch.setattr(dovecot, "CONNECT_SECONDS", 1.0)
        assert await talk(server, lambda client: _lost(settings, client, say)) == [
            b"454 4.7.0 Temporary authentication failure\r\n",
            b"454 4.7.0 Temporary authentication failure\r\n",
            b"235 2.7.0 Authentication successful\r\n",
        ]
    assert "authentication aborted: " in caplog.text
    assert "authentication failed" not in caplog.text, "fail2ban must not ban for it"


def _lost(settings: ReceiveOptions, client: Talk, say: Callable[[Talk], list[bytes]]) -> list[bytes]:
    """The connection that the greeting opened is lost."""
    assert isinstance(settings.accounts, DovecotAccounts)
    assert settings.accounts._link is not None
    settings.accounts._link.failure = "lost"
    return say(client)
