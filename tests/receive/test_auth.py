"""AUTH on submission listeners, over real TLS: mechanisms, failures, and what a login allows."""

import asyncio
import base64
import hashlib
import hmac
import logging
import re
import smtplib
import socket
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
from OpenSSL import SSL

from letterlock.accounts import guessing
from letterlock.accounts.file_store import FileStore
from letterlock.accounts.guessing import GuessLimiter
from letterlock.accounts.stored import StoredAccounts
from letterlock.accounts.user_file import make_user, new_file, write_users
from letterlock.app.log_text import PostfixFormatter
from letterlock.mail.addresses import Mailbox
from letterlock.net.tls import ServerContext
from letterlock.receive.auth import Authenticator
from letterlock.receive.options import ReceiveOptions
from letterlock.receive.profiles import Profile, Role
from letterlock.recipients.directory import TableFailed
from letterlock.recipients.targets import Entry, Name
from letterlock.state.rate_file import RateFile
from tests.accounts.logins import NOT_REMEMBERED
from tests.certificates import authority
from tests.receive.world import PATIENCE_SECONDS, StandingClock, World, world

PASSWORD = "correct horse"
ANN = "ann@example.org"


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ServerContext:
    directory: Path = tmp_path_factory.mktemp("certificate")
    return ServerContext.load(*authority().leaf("mx.example.org").write(directory))


@pytest.fixture(scope="module")
def users_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("users") / "users"
    content = new_file()
    content.users[ANN] = make_user(ANN, PASSWORD, (ANN, "@sales.example.org"))
    write_users(path, content)
    return path


@pytest.fixture(autouse=True)
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guessing, "FIRST_DELAY_SECONDS", 0.0)


def options(users_path: Path) -> ReceiveOptions:
    return ReceiveOptions(hostname="mx.example.org", accounts=StoredAccounts(FileStore(users_path, NOT_REMEMBERED)))


def profile(context: ServerContext, role: Role = Role.SUBMISSIONS) -> Profile:
    return Profile(role=role, tls=context, relay_networks=())


_Result = TypeVar("_Result")


class Talk:
    """A blocking client inside TLS."""

    def __init__(self, address: tuple[str, int]) -> None:
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        plain = socket.create_connection(address, timeout=PATIENCE_SECONDS)
        self._stream = trusting.wrap_socket(plain)
        self._file = self._stream.makefile("rb")
        self.reply()
        self.offers = self.ask(b"EHLO client.example")

    def reply(self) -> bytes:
        lines = [self._file.readline()]
        while lines[-1][3:4] == b"-":
            lines.append(self._file.readline())
        return b"".join(lines)

    def ask(self, line: bytes) -> bytes:
        self._stream.sendall(line + b"\r\n")
        return self.reply()

    def auth(self, mechanism: bytes, *messages: bytes) -> bytes:
        """AUTH with an initial response, then the others; the last reply."""
        first, *others = (base64.b64encode(message) or b"=" for message in messages)
        answer = self.ask(b"AUTH " + mechanism + b" " + first)
        for message in others:
            answer = self.ask(message)
        return answer

    def scram(
        self,
        user: bytes,
        password: bytes,
        mechanism: bytes = b"SCRAM-SHA-256",
        header: bytes = b"n,,",
        binding: bytes = b"",
    ) -> bytes:
        """A whole exchange (RFC 5802); the last reply."""
        first = b"n=" + user + b",r=clientnonce"
        answer = self.ask(b"AUTH " + mechanism + b" " + base64.b64encode(header + first))
        if not answer.startswith(b"334 "):
            return answer
        server_first = base64.b64decode(answer[4:])
        nonce, salt, iterations = (part[2:] for part in server_first.split(b","))
        salted = hashlib.pbkdf2_hmac("sha256", password, base64.b64decode(salt), int(iterations))
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        unproved = b"c=" + base64.b64encode(header + binding) + b",r=" + nonce
        signed = b",".join((first, server_first, unproved))
        signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        answer = self.ask(base64.b64encode(unproved + b",p=" + base64.b64encode(proof)))
        if not answer.startswith(b"334 "):
            return answer
        verifier = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), signed, "sha256")
        assert base64.b64decode(answer[4:]) == b"v=" + base64.b64encode(verifier)
        return self.ask(b"")

    def close(self) -> None:
        self._file.close()
        self._stream.close()


async def talk(server: World, say: Callable[[Talk], _Result]) -> _Result:
    def run() -> _Result:
        client = Talk(server.address)
        try:
            return say(client)
        finally:
            client.close()

    result = await asyncio.to_thread(run)
    await server.empty()
    return result


PLAIN = b"\0" + ANN.encode() + b"\0" + PASSWORD.encode()
WRONG = PLAIN + b"x"


async def test_rfc4954_3_auth_is_offered_inside_tls_only(context: ServerContext, users_path: Path) -> None:
    async with world(options(users_path), profile(context, Role.SUBMISSION)) as server, server.client() as client:
        await client.reply()
        assert b"AUTH" not in await client.ask(b"EHLO client.example\r\n")
        assert (await client.ask(b"AUTH PLAIN AGEAYg==\r\n")).startswith(b"538 5.7.11 ")
    async with world(options(users_path), profile(context)) as server:
        offers = await talk(server, lambda client: client.offers)
    assert b"-AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN\r\n" in offers


async def test_other_listeners_offer_no_auth(context: ServerContext, users_path: Path) -> None:
    async with world(options(users_path), Profile(role=Role.RELAY, tls=context)) as server, server.client() as client:
        await client.reply()
        assert b"AUTH" not in await client.ask(b"EHLO client.example\r\n")


@pytest.mark.parametrize(
    "login",
    [
        lambda client: client.auth(b"PLAIN", PLAIN),
        lambda client: client.auth(b"plain", ANN.encode() + PLAIN),
        lambda client: (client.ask(b"AUTH PLAIN"), client.ask(base64.b64encode(PLAIN)))[1],
        lambda client: client.auth(b"LOGIN", ANN.encode(), PASSWORD.encode()),
        lambda client: (
            client.ask(b"AUTH LOGIN"),
            client.ask(base64.b64encode(ANN.encode())),
            client.ask(base64.b64encode(PASSWORD.encode())),
        )[2],
        lambda client: client.scram(ANN.encode(), PASSWORD.encode()),
        lambda client: client.scram(ANN.encode(), PASSWORD.encode(), header=b"n,a=" + ANN.encode() + b","),
    ],
    ids=["PLAIN", "PLAIN as oneself", "PLAIN later", "LOGIN", "LOGIN asked", "SCRAM", "SCRAM as oneself"],
)
async def test_rfc4954_4_a_user_logs_in_and_sends(
    context: ServerContext, users_path: Path, login: Callable[[Talk], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    def say(client: Talk) -> list[bytes]:
        said = [login(client), client.ask(b"AUTH PLAIN AGEAYg==")]
        lines = [b"MAIL FROM:<ann@example.org> AUTH=<>", b"RCPT TO:<bob@example.net>", b"DATA", b"\r\nx\r\n."]
        return said + [client.ask(line)[:3] for line in lines]

    async with world(options(users_path), profile(context)) as server:
        said = await talk(server, say)
    assert said == [
        b"235 2.7.0 Authentication successful\r\n",
        b"503 5.5.1 Already authenticated\r\n",
        b"250",
        b"250",
        b"354",
        b"250",
    ]
    assert b" with ESMTPSA id ID1\r\n" in server.store.kept[0][1]
    assert f"sasl_username={ANN}" in caplog.text


async def test_rfc9266_4_a_login_bound_to_another_session_is_refused(context: ServerContext, users_path: Path) -> None:
    """A man in the middle has the client's messages, but another TLS session."""
    async with world(options(users_path), profile(context)) as server:
        header = b"p=tls-exporter,,"
        answer = await talk(
            server, lambda client: client.scram(ANN.encode(), PASSWORD.encode(), b"SCRAM-SHA-256-PLUS", header)
        )
        assert answer.startswith(b"535 ")
        answer = await talk(server, lambda client: client.scram(ANN.encode(), PASSWORD.encode(), header=b"y,,"))
        assert answer.startswith(b"535 "), "we offer -PLUS, so the client's y means that somebody removed it"


@pytest.mark.parametrize(
    "login",
    [
        lambda client: client.auth(b"PLAIN", WRONG),
        lambda client: client.auth(b"PLAIN", b"\0nobody\0x"),
        lambda client: client.auth(b"PLAIN", b"\0nobody@example.org\0" + PASSWORD.encode()),
        lambda client: client.auth(b"PLAIN", b"bob" + PLAIN),
        lambda client: client.auth(b"PLAIN", b"\0\0"),
        lambda client: client.auth(b"PLAIN", b"x"),
        lambda client: client.auth(b"LOGIN", ANN.encode(), b"x"),
        lambda client: client.auth(b"LOGIN", b"\xff", b"x"),
        lambda client: client.scram(ANN.encode(), b"x"),
        lambda client: client.scram(b"nobody", b"x"),
        lambda client: client.auth(b"SCRAM-SHA-256", b"x"),
    ],
)
async def test_rfc4954_6_whatever_is_wrong_the_reply_is_the_same(
    context: ServerContext, users_path: Path, login: Callable[[Talk], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    async with world(options(users_path), profile(context)) as server:
        said = await talk(server, lambda client: [login(client), client.ask(b"MAIL FROM:<ann@example.org>")])
    assert said == [
        b"535 5.7.8 Authentication credentials invalid\r\n",
        b"530 5.7.0 Authentication required\r\n",
    ]
    assert "unknown[127.0.0.1]: SASL " in caplog.text
    assert " authentication failed: " in caplog.text
    assert PASSWORD not in caplog.text


# The prefix is left to fail2ban's own settings; the rest is the rule of its filter postfix[mode=auth] (version 1.1).
FAIL2BAN = re.compile(
    r"warning: [-._\w]+\[(?P<host>[0-9a-f.:]+)\]: SASL (?:(?i:LOGIN|PLAIN)|(?:CRAM|DIGEST)-MD5) authentication failed:"
    r"(?! Connection lost to authentication server| Invalid authentication mechanism)"
)


async def test_fail2bans_filter_finds_the_client_in_our_log(
    context: ServerContext, users_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with world(options(users_path), profile(context)) as server:
        await talk(server, lambda client: client.auth(b"PLAIN", WRONG))
    [record] = [each for each in caplog.records if "authentication failed" in each.getMessage()]
    found = FAIL2BAN.search(PostfixFormatter("mx.example.org").format(record))
    assert found is not None
    assert found["host"] == "127.0.0.1"


class BoundTalk(Talk):
    """A client that can bind its login to the TLS session, which the standard library cannot."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address, timeout=PATIENCE_SECONDS)
        self._socket.settimeout(None)
        self._connection = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), self._socket)
        self._connection.set_connect_state()
        self._connection.do_handshake()
        self.binding = self._connection.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")
        self.reply()
        self.offers = self.ask(b"EHLO client.example")

    def reply(self) -> bytes:
        data = b""
        while not data.endswith(b"\r\n") or data.splitlines()[-1][3:4] == b"-":
            data += self._connection.recv(4096)
        return data

    def ask(self, line: bytes) -> bytes:
        self._connection.sendall(line + b"\r\n")
        return self.reply()

    def close(self) -> None:
        self._socket.close()


async def test_rfc9266_3_a_login_bound_to_its_tls_session(context: ServerContext, users_path: Path) -> None:
    def run(address: tuple[str, int], password: bytes) -> bytes:
        client = BoundTalk(address)
        try:
            header = b"p=tls-exporter,,"
            name = ANN.encode()
            return client.scram(name, password, b"SCRAM-SHA-256-PLUS", header, client.binding)
        finally:
            client.close()

    async with world(options(users_path), profile(context)) as server:
        said = [await asyncio.to_thread(run, server.address, password) for password in (PASSWORD.encode(), b"x")]
    assert [reply[:3] for reply in said] == [b"235", b"535"]


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b"AUTH CRAM-MD5", b"504 5.5.4 "),
        (b"AUTH", b"501 5.5.4 "),
        (b"AUTH PLAIN !", b"501 5.5.2 "),
        (b"AUTH PLAIN\r\nNOOP", b"554 5.5.0 "),
    ],
)
async def test_rfc4954_4_malformed_auth(context: ServerContext, users_path: Path, line: bytes, answer: bytes) -> None:
    async with world(options(users_path), profile(context)) as server:
        assert (await talk(server, lambda client: client.ask(line))).startswith(answer)


@pytest.mark.parametrize(
    ("line", "answer"),
    [(b"*", b"501 5.7.0 "), (b"!", b"501 5.5.2 "), (b"A" * 12_300, b"500 5.5.2 "), (b"NOOP", b"535 ")],
)
async def test_rfc4954_4_an_answer_to_a_challenge_is_never_a_command(
    context: ServerContext, users_path: Path, line: bytes, answer: bytes
) -> None:
    def say(client: Talk) -> list[bytes]:
        return [client.ask(b"AUTH PLAIN"), client.ask(line), client.ask(b"NOOP")]

    async with world(options(users_path), profile(context)) as server:
        said = await talk(server, say)
    assert said[0] == b"334 \r\n"
    assert said[1].startswith(answer)
    assert said[2].startswith(b"250 ")


async def test_rfc4954_4_auth_is_not_for_the_middle_of_a_transaction(context: ServerContext, users_path: Path) -> None:
    def say(client: Talk) -> list[bytes]:
        client.auth(b"PLAIN", PLAIN)
        return [client.ask(b"MAIL FROM:<ann@example.org>")[:3], client.ask(b"AUTH PLAIN")[:3]]

    async with world(options(users_path), profile(context)) as server:
        assert await talk(server, say) == [b"250", b"503"]


@pytest.mark.parametrize(
    ("sender", "code"),
    [
        (b"ann@example.org", b"250"),
        (b"Ann@EXAMPLE.org", b"250"),
        (b"any@sales.example.org", b"250"),
        (b"", b"250"),
        (b"bob@example.org", b"553"),
        (b"ann@sub.sales.example.org", b"553"),
    ],
)
async def test_rfc6409_6_1_a_user_sends_only_as_their_addresses(
    context: ServerContext, users_path: Path, sender: bytes, code: bytes
) -> None:
    def say(client: Talk) -> bytes:
        client.auth(b"PLAIN", PLAIN)
        return client.ask(b"MAIL FROM:<" + sender + b">")

    async with world(options(users_path), profile(context)) as server:
        assert (await talk(server, say))[:3] == code


async def test_a_client_that_guesses_on_is_put_off(
    context: ServerContext, users_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guessing, "MAX_FAILURES_OF_CLIENT", 3)

    def say(client: Talk) -> list[bytes]:
        return [client.auth(b"PLAIN", b"\0u%d\0x" % number)[:3] for number in range(4)] + [client.auth(b"PLAIN", PLAIN)]

    async with world(options(users_path), profile(context)) as server:
        said = await talk(server, say)
    assert said[:4] == [b"535", b"535", b"535", b"454"]
    assert said[4] == b"454 4.7.0 Too many failed attempts, try again later\r\n"


async def test_workers_count_failures_together(
    context: ServerContext, users_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With N workers nobody has N times the guesses, and a login at one is forgiven at all."""
    monkeypatch.setattr(guessing, "MAX_FAILURES_OF_CLIENT", 4)
    files = [RateFile(tmp_path / "rates", "boot") for _ in range(2)]

    def guess(client: Talk) -> list[bytes]:
        return [client.auth(b"PLAIN", b"\0u%d\0x" % number)[:3] for number in range(2)]

    def login(client: Talk) -> bytes:
        return client.auth(b"PLAIN", PLAIN)[:3]

    async with (
        world(options(users_path), profile(context), rates=files[0]) as one,
        world(options(users_path), profile(context), rates=files[1]) as two,
    ):
        assert [await talk(one, guess), await talk(two, login)] == [[b"535"] * 2, b"235"]
        assert [await talk(one, guess), await talk(two, guess)] == [[b"535"] * 2] * 2
        assert [await talk(one, login), await talk(two, login)] == [b"454"] * 2
    for each in files:
        each.close()


async def test_a_user_who_was_removed_sends_no_more(context: ServerContext, tmp_path: Path) -> None:
    path, content = tmp_path / "users", new_file()
    content.users[ANN] = make_user(ANN, PASSWORD, (ANN,))
    write_users(path, content)

    def say(client: Talk) -> list[bytes]:
        said = [client.auth(b"PLAIN", PLAIN)[:3]]
        del content.users[ANN]
        write_users(path, content)
        return [*said, client.ask(b"MAIL FROM:<ann@example.org>")[:3]]

    async with world(options(path), profile(context)) as server:
        assert await talk(server, say) == [b"235", b"553"]
        assert (await talk(server, lambda client: client.auth(b"PLAIN", PLAIN)))[:3] == b"535"


async def test_pythons_smtplib_logs_in(context: ServerContext, users_path: Path) -> None:
    def send(address: tuple[str, int]) -> None:
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        with smtplib.SMTP(*address, timeout=PATIENCE_SECONDS) as client:
            client.starttls(context=trusting)
            client.login(ANN, PASSWORD)
            client.sendmail(ANN, ["bob@example.net"], "Subject: x\r\n\r\nhi\r\n")

    async with world(options(users_path), profile(context, Role.SUBMISSION)) as server:
        await asyncio.to_thread(send, server.address)
    assert server.store.kept


async def test_a_reload_brings_other_users_and_keeps_the_count_of_failures(
    context: ServerContext, users_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guessing, "MAX_FAILURES_OF_CLIENT", 2)
    write_users(tmp_path / "users", new_file())
    async with world(options(tmp_path / "users"), profile(context)) as server:
        assert (await talk(server, lambda client: client.auth(b"PLAIN", PLAIN)))[:3] == b"535"
        server.listener.reload(options(users_path), [profile(context)])
        assert (await talk(server, lambda client: client.auth(b"PLAIN", WRONG)))[:3] == b"535"
        assert (await talk(server, lambda client: client.auth(b"PLAIN", PLAIN)))[:3] == b"454"


class Named:
    """A table of senders."""

    name = "senders"

    async def find(self, key: str) -> Entry | None:
        entries: dict[str, Entry] = {
            "info@example.org": (Mailbox("bob", "example.org"), Name("ann@example.org")),
            "boss@example.org": (Mailbox("bob", "example.org"),),
            "@other.example": (Mailbox("Ann", "example.org"),),
        }
        if key == "broken@example.org":
            raise TableFailed("table senders: the disk is gone")
        return entries.get(key)


@pytest.mark.parametrize(
    ("sender", "answer"),
    [
        (b"ann@example.org", b"250 2.1.0"),
        (b"Info@example.org", b"250 2.1.0"),
        (b"boss@example.org", b"553 5.7.1"),
        (b"any@other.example", b"250 2.1.0"),
        (b"", b"250 2.1.0"),
        (b"broken@example.org", b"451 4.3.0"),
    ],
)
async def test_tables_name_more_users_for_an_address(
    context: ServerContext, users_path: Path, sender: bytes, answer: bytes
) -> None:
    def say(client: Talk) -> bytes:
        client.auth(b"PLAIN", PLAIN)
        return client.ask(b"MAIL FROM:<" + sender + b">")

    with_tables = replace(options(users_path), sender_tables=(Named(),))
    async with world(with_tables, profile(context)) as server:
        assert (await talk(server, say)).startswith(answer)


@pytest.mark.parametrize("user", [ANN, "nobody@example.org"])
async def test_the_time_of_a_check_does_not_show(users_path: Path, user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The delay begins with the client's message, so a check that was quicker waits longer."""
    waited = list[float]()

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(guessing, "FIRST_DELAY_SECONDS", 1.0)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    clock = StandingClock()
    limited = Authenticator(
        StoredAccounts(FileStore(users_path, NOT_REMEMBERED)), clock, GuessLimiter(RateFile(None, ""))
    )
    for took in (0.25, 0.0, 9.0):
        await limited.slow_down("192.0.2.1", user, -took)
    assert waited == [0.75, 2.0, 0.0]
