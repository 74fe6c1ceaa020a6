"""Fuzz logins, on both sides. `python -m tests.fuzz.sasl_fuzz --cases N --seed S`.

Nobody gets in without the password: of SCRAM every octet that was changed on the way ends the login, channel binding
included. Who has the password gets in. Our client does not believe a server that cannot prove itself. In a session
with AUTH only what RFC 4954 allows happens, however the octets were cut. The only exceptions are the documented ones.
"""

import base64
import contextlib
import functools
import random
import re

from letterlock.accounts.user_file import BadUsers, parse_users
from letterlock.mail.replies import Reply
from letterlock.sasl.client_login import Credentials, LoginFailed, ScramLogin, choose
from letterlock.sasl.dovecot_protocol import (
    AuthFinding,
    AuthGreeting,
    BadAuthLine,
    auth_request,
    read_auth_answer,
)
from letterlock.sasl.exchange import Accepted, Challenge, CheckPassword, Exchange, NeedCredential, Outcome, Rejected
from letterlock.sasl.passwords import Login, Plain
from letterlock.sasl.prepare import MAX_OCTETS, Unprepared, prepare
from letterlock.sasl.scram import BadCredential, Scram, ScramCredential
from letterlock.smtp.server import SmtpServer
from letterlock.smtp.server_events import (
    AuthAnswered,
    AuthOffered,
    Ended,
    Event,
    MessageReceived,
    RecipientOffered,
    SenderOffered,
    ServerLimits,
    StartTlsRequested,
)
from tests.fuzz.kinds import Case, command, damaged, joined, require_words
from tests.fuzz.kinds import run as run_kinds

PASSWORDS = {"ann": "secret", "b,=b": "x,y=z", "\u00fcnal": "p\u00e4ss word", "ann@example.org": "\u05d0\u05d1"}
SALT, SECRET = b"sixteen octets..", b"what the exporter gives, 32 long"
CREDENTIALS = {user: ScramCredential.of_password(password, SALT) for user, password in PASSWORDS.items()}
NOBODY = ScramCredential.of_password("of nobody", b"another salt....")
NONCE = b"server-nonce"
TEXTS = [
    "a",
    "ann",
    "@",
    "=",
    ",",
    "\0",
    "\u00fc",
    "\u05d0",
    "\u2168",
    "\u00a0",
    "\u00ad",
    "\x7f",
    "\ud7ff",
    "\U0001f600",
    "x" * 300,
]
HOSTILE_MESSAGES = (
    b"",
    b"=",
    b"n,,",
    b"n,,n=,r=",
    b"n,,n=ann,r=" + b"x" * 300,
    b"y,,n=ann,r=abc",
    b"p=tls-unique,,n=ann,r=abc",
    b"n,a=bob,n=ann,r=abc",
    b"n,,m=ext,n=ann,r=abc",
    b"n,,n=a=2Cb,r=abc",
    b"n,,n=a=zz,r=abc",
    b"n,,n=\xff,r=abc",
    b"c=biws,r=abc",
    b"c=biws,r=abcserver-nonce,p=" + base64.b64encode(bytes(32)),
    b"c=!!!,r=abc,p=AAAA",
    b"\0ann\0secret",
    b"x\0ann\0secret",
    b"\0\0\0\0",
    b"\0ann\0" + b"x" * 1025,
    b"e=other-error",
)


@functools.lru_cache(maxsize=16)
def _client(user: str, password: str, binding: bytes | None, flag: bytes) -> ScramLogin:
    """Its salted password takes a millisecond: kept, and begun anew with `_begun`."""
    return ScramLogin(Credentials(user, password), b"client-nonce", binding=binding, flag=flag)


@functools.lru_cache(maxsize=4096)
def _final(user: str, password: str, binding: bytes | None, flag: bytes, server_first: bytes) -> bytes:
    return ScramLogin(Credentials(user, password), b"client-nonce", binding=binding, flag=flag).answer(server_first)


def _continued(exchange: Exchange, message: bytes | None) -> Outcome:
    """A step, with what the driver would do for it."""
    outcome = exchange.step(message)
    if isinstance(outcome, NeedCredential):
        assert isinstance(exchange, Scram)
        outcome = exchange.continue_with(CREDENTIALS.get(outcome.user, NOBODY))
    if isinstance(outcome, CheckPassword):
        fits = PASSWORDS.get(outcome.user) == outcome.password
        outcome = Accepted(outcome.user) if fits else Rejected("authentication failure", outcome.user)
    assert isinstance(outcome, Challenge | Accepted | Rejected)
    return outcome


def scram_case(chance: random.Random) -> str:
    """A client with the right or another password, its messages whole or changed on the way."""
    user = chance.choice(list(PASSWORDS))
    guessed = chance.random() < 0.2
    password = "a guess" if guessed else PASSWORDS[user]
    plus = chance.random() < 0.5
    binding = SECRET if plus or chance.random() < 0.3 else None
    flag = chance.choice((b"n", b"y"))
    believed = chance.choice((SECRET, b"of another session")) if plus else None
    login = _client(user, password, believed, flag)
    server = Scram(NONCE, plus=plus, binding=binding)
    first, spoiled = _on_the_way(login.initial(), chance)
    stripped = not plus and flag == b"y" and binding is not None
    outcome = _continued(server, first)
    if isinstance(outcome, Challenge) and outcome.data.startswith(b"r=client-nonce"):
        honest = _final(user, password, believed, flag, outcome.data)
        final, changed = _on_the_way(honest, chance)
        spoiled = spoiled or (changed and not _same_proof(honest, final))
        outcome = _continued(server, final)
        if isinstance(outcome, Challenge):
            outcome = _continued(server, chance.choice((b"", b"", b"", b"more")))
            if isinstance(outcome, Rejected):
                return "refused at the end"
    may_get_in = not (guessed or spoiled or stripped) and (not plus or believed == SECRET)
    assert isinstance(outcome, Accepted) is may_get_in, (outcome, first)
    assert not isinstance(outcome, Accepted) or (outcome.user, outcome.acting_for) == (prepare(user.encode()), None)
    return "accepted" if may_get_in else "refused"


def _on_the_way(message: bytes, chance: random.Random) -> tuple[bytes, bool]:
    if chance.random() < 0.6:
        return message, False
    arrived = chance.choice(HOSTILE_MESSAGES) if chance.random() < 0.2 else damaged(message, chance)
    return arrived, arrived != message


def _same_proof(honest: bytes, arrived: bytes) -> bool:
    """Base64 has several spellings of the same octets: the spare bits of its last letter."""
    before, _, proof = honest.rpartition(b",p=")
    others, _, other = arrived.rpartition(b",p=")
    if before != others:
        return False
    with contextlib.suppress(ValueError):
        return base64.b64decode(other, validate=True) == base64.b64decode(proof)
    return False


def hostile_case(chance: random.Random) -> str:
    """Anything at all, to any mechanism: never in without the password."""
    exchange: Exchange = chance.choice(
        (Plain, Login, lambda: Scram(NONCE, plus=False, binding=None), lambda: Scram(NONCE, plus=True, binding=SECRET))
    )()
    sent: list[bytes | None] = [None] if chance.random() < 0.3 else []
    for _ in range(4):
        text = chance.choice(HOSTILE_MESSAGES) if chance.random() < 0.7 else joined(TEXTS, chance, 6).encode()
        sent.append(text if chance.random() < 0.5 else damaged(text, chance))
    for message in sent:
        outcome = _continued(exchange, message)
        if isinstance(outcome, Accepted):
            plain = b"\0".join(each for each in sent if each is not None)
            assert prepare(PASSWORDS[outcome.user].encode()).encode() in plain
            return "accepted"
        if isinstance(outcome, Rejected):
            assert outcome.why.isascii()
            assert outcome.why.isprintable()
            return "refused"
    return "unfinished"


def client_case(chance: random.Random) -> str:
    """Our client and a server: proven means that the server knows the password."""
    user, knows = chance.choice(list(PASSWORDS)), chance.random() < 0.7
    offered = chance.sample(("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN", "X-1"), chance.randrange(6))
    binding = chance.choice((None, SECRET))
    try:
        login = choose(offered, Credentials(user, PASSWORDS[user]), b"client-nonce", binding)
    except LoginFailed as failed:
        require_secret(require_words(failed), PASSWORDS[user])
        return "no mechanism"
    if not isinstance(login, ScramLogin):
        return _password_client(login.name, login.answer, chance)
    plus = login.name.endswith("PLUS")
    server = Scram(NONCE, plus=plus, binding=SECRET if plus else None)
    stored = CREDENTIALS[user] if knows else NOBODY
    server.step(login.initial())
    challenge, spoiled = _on_the_way(server.continue_with(stored).data, chance)
    try:
        outcome = server.step(login.answer(challenge))
        verifier = outcome.data if isinstance(outcome, Challenge) else b"v=" + base64.b64encode(bytes(32))
        arrived, changed = _on_the_way(verifier, chance)
        login.answer(arrived)
    except LoginFailed as failed:
        assert not login.proven
        require_secret(require_words(failed), PASSWORDS[user])
        return "not proven"
    assert login.proven
    assert knows
    assert not spoiled
    assert not changed or base64.b64decode(arrived[2:].partition(b",")[0]) == base64.b64decode(verifier[2:])
    return "proven"


def _password_client(name: str, answer: object, chance: random.Random) -> str:
    assert callable(answer)
    for number in range(3):
        try:
            answer(chance.randbytes(5))
        except LoginFailed:
            assert number == (0 if name == "PLAIN" else 2)
            return name
    raise AssertionError(f"{name} answers without an end")


def require_secret(words: str, secret: str) -> None:
    """What is said and logged of a failure does not have it."""
    assert secret not in words


def name_case(chance: random.Random) -> str:
    """SASLprep: what was prepared stays as it is, and has nothing prohibited."""
    text = joined(TEXTS, chance, 5) + (chr(chance.randrange(0xD800)) if chance.random() < 0.5 else "")
    octets = text.encode("utf-8", "surrogatepass")
    octets = damaged(octets, chance) if chance.random() < 0.3 else octets
    try:
        prepared = prepare(octets)
    except Unprepared as error:
        require_words(error)
        return "refused"
    assert prepare(prepared.encode()[:MAX_OCTETS]) == prepared or len(prepared.encode()) > MAX_OCTETS
    assert "\0" not in prepared
    assert not any(letter < " " or letter == "\x7f" for letter in prepared)
    return "prepared"


HASH = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$" + "A" * 43
USERS = f"#secret {base64.b64encode(SECRET).decode()}\n# x\nann {HASH} {CREDENTIALS['ann']} ann@example.org,@a.test\n"


def users_case(chance: random.Random) -> str:
    """A damaged file of users: users, or a line that is said to be wrong."""
    octets = USERS.encode()
    for _ in range(chance.randrange(4)):
        octets = damaged(octets, chance)
    try:
        found = parse_users(octets.decode("utf-8", "replace"))
    except BadUsers as error:
        require_secret(require_words(error), "secret ")
        return "refused"
    for user in found.users.values():
        with contextlib.suppress(BadCredential):
            assert parse_users(user.line()).users[user.name] == user
    return f"{len(found.users)} users"


# --- sessions ---

DOVECOT = (
    b"OK\t7\tuser=ann@example.org\tresp=dg==",
    b"OK\t7\tuser=ann\tnologin\tproxy",
    b"OK\t7",
    b"OK\t7\tuser=a\x01tb\x01n\x010\x011",
    b"CONT\t7\tcj1hYmM=",
    b"CONT\t7",
    b"CONT\t-1\t!!",
    b"FAIL\t7\tuser=ann\ttemp",
    b"FAIL\t7\tcode=temp_fail\treason=x",
    b"FAIL\t7\tuser_disabled",
    b"FAIL\t" + b"9" * 5000,
    b"OK\t" + "\u0663".encode() + b"\tuser=x",
    b"MECH\tPLAIN\tplaintext",
    b"MECH\tSCRAM-SHA-256",
    b"MECH\tEXTERNAL\tprivate",
    b"VERSION\t1\t3",
    b"VERSION\t2\t0",
    b"DONE",
    b"COOKIE\t00",
    b"",
    b"\t\t",
    b"\xff\t7",
)


def dovecot_case(chance: random.Random) -> str:
    """What Dovecot's auth service says, at its beginning and later; and what it is asked."""
    line = chance.choice(DOVECOT)
    line = (damaged(line, chance) if chance.random() < 0.6 else line) + b"\n"
    greeting = AuthGreeting()
    try:
        for _ in range(chance.choice((1, 3, 200))):
            if greeting.feed(chance.choice((line, *(each + b"\n" for each in DOVECOT[12:18])))):
                break
        assert all(re.fullmatch(r"[A-Z0-9_-]{1,20}", each) for each in greeting.mechanisms)
    except BadAuthLine as error:
        require_words(error)
    try:
        request = auth_request(
            7, "PLAIN", client="192.0.2.1", met_at="x\ny", response=chance.randbytes(chance.choice((0, 9, 13_000)))
        )
        assert request.count(b"\n") == 1
        assert request.endswith(b"\n")
        answer = read_auth_answer(line)
    except BadAuthLine as error:
        require_words(error)
        return "refused"
    if answer is None:
        return "no answer"
    assert answer.why.isprintable() or not answer.why
    if answer.finding is AuthFinding.SUCCEEDED:
        assert answer.user
        assert answer.user.isprintable()
        assert len(answer.user.encode()) <= 320
    return str(answer.finding)


LIMITS = ServerLimits(max_message_octets=2000, max_command_octets=12_288, max_recipients=100)
MECHANISMS = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN")


def _b64(data: bytes) -> bytes:
    return base64.b64encode(data)


LINES = (
    *(b"EHLO a.example", b"HELO a", b"RSET", b"NOOP", b"MAIL FROM:<ann@example.org> AUTH=<>", b"RCPT TO:<b@b.test>"),
    *(
        b"DATA",
        b"x\r\n.",
        b"BDAT 2 LAST\r\nx",
        b"STARTTLS",
        b"QUIT",
        b"*",
        b"=",
        b"",
        b"!!!",
        b"AUTH",
        b"AUTH =",
        b"AUTH  PLAIN",
    ),
    *(
        b"AUTH PLAIN",
        b"auth plain =",
        b"AUTH LOGIN",
        b"AUTH CRAM-MD5",
        b"AUTH SCRAM-SHA-256",
        b"AUTH PLAIN " + b"A" * 13_000,
    ),
    b"AUTH PLAIN " + _b64(b"\0ann\0secret"),
    b"AUTH PLAIN " + _b64(b"\0ann\0guess"),
    b"AUTH LOGIN " + _b64(b"ann"),
    *(_b64(b"ann"), _b64(b"secret"), _b64(b"\0ann\0secret"), _b64(b"\0ann\0wrong")),
    b"AUTH SCRAM-SHA-256 " + _b64(b"n,,n=ann,r=client-nonce"),
    b"AUTH SCRAM-SHA-256-PLUS " + _b64(b"p=tls-exporter,,n=ann,r=client-nonce"),
    _b64(_final("ann", "secret", None, b"n", b"r=client-nonceserver-nonce,s=%b,i=4096" % _b64(SALT))),
    _b64(_final("ann", "secret", SECRET, b"n", b"r=client-nonceserver-nonce,s=%b,i=4096" % _b64(SALT))),
)
USUAL = (b"EHLO a.example\r\n", b"AUTH PLAIN AGFubgBzZWNyZXQ=\r\n", b"MAIL FROM:<ann@example.org>\r\n")
REFUSALS = (Reply(535, ("5.7.8 no",)), Reply(450, ("4.7.1 later",)), Reply(421, ("4.7.0 closing",)))
MUST_WAIT = (b"554 5.5.0 ", b"421 4.7.0 Octets")


class _Session:
    """A server whose decisions come from chance, with the exchanges of our mechanisms."""

    def __init__(self, chance: random.Random, *, secure: bool) -> None:
        self.chance = chance
        self.server = SmtpServer("mx.example.org", LIMITS, starttls=not secure, secure=secure)
        if secure:
            self.server.offer_auth(MECHANISMS)
        self.exchange: Exchange | None = None
        self.user: str | None = None
        self.log: list[str] = []
        self.over = self.began_tls = False
        self.server.greet()

    def hear(self, data: bytes) -> None:
        self.server.feed(data)
        while not self.over and (event := self.server.next_event()) is not None:
            self.log.append(type(event).__name__)
            if isinstance(event, StartTlsRequested):
                self._begin_tls()
                return  # what else the client sent in clear does not exist
            self.over = isinstance(event, Ended)
            self._decide(event)
        assert self.server.protocol.endswith("A") is (self.user is not None)

    def _begin_tls(self) -> None:
        assert self.user is None
        self.server.tls_established()
        self.began_tls = True
        assert (self.server.hello, self.server.in_transaction, list(self.server.recipients)) == (None, False, [])
        self.server.offer_auth(MECHANISMS)

    def _decide(self, event: Event) -> None:
        match event:
            case AuthOffered(mechanism, response):
                assert self.server.secure
                assert self.user is None
                self.exchange = self._mechanism(mechanism)
                self._go_on(response)
            case AuthAnswered(response):
                self._go_on(response)
            case SenderOffered() | RecipientOffered() | MessageReceived():
                assert self.server.hello is not None
                if self.chance.random() < 0.1:
                    self.server.refuse(self.chance.choice(REFUSALS))
                else:
                    self.server.accept()

    def _mechanism(self, name: str) -> Exchange:
        match name:
            case "PLAIN":
                return Plain()
            case "LOGIN":
                return Login()
        return Scram(NONCE, plus=name.endswith("PLUS"), binding=SECRET)

    def _go_on(self, response: bytes | None) -> None:
        assert self.exchange is not None
        match _continued(self.exchange, response):
            case Challenge(data):
                self.server.challenge(data)
            case Accepted(user):
                self.user = user
                self.server.accept()
            case _:
                self.server.refuse(self.chance.choice(REFUSALS))


def session_case(chance: random.Random) -> str:
    """The same lines whole and in pieces: the same replies, unless the client was to wait."""
    secure, own = chance.random() < 0.8, chance.getrandbits(32)
    lines = list(USUAL[: chance.randrange(4)])
    for _ in range(chance.randrange(10)):
        line = chance.choice(LINES) + b"\r\n"
        lines.append(damaged(line, chance) if chance.random() < 0.1 else line)
    size = chance.randrange(1, 40)
    ended = []
    for step in (1 << 20, size):
        session = _Session(random.Random(own), secure=secure)
        for line in lines:
            session.began_tls = False
            for at in range(0, len(line), max(step, len(line) // 30)):
                if not session.over:
                    session.hear(line[at : at + max(step, len(line) // 30)])
                if session.began_tls:
                    break  # the client waits for the reply to STARTTLS, and what follows is inside TLS
        output = session.server.take_output()
        assert all(each[:3].isdigit() and each[3:4] in b" -" for each in output.splitlines())
        ended.append((output, session.user, session.log, session.server.state))
    shown = [[line[:80] for line in lines], *(end[0][-600:] for end in ended)]
    assert ended[0] == ended[1] or any(each in b"\r\n" + end[0] for each in MUST_WAIT for end in ended), shown
    return "logged in" if ended[0][1] is not None else "not logged in"


KINDS: dict[str, tuple[int, Case]] = {
    "scram": (4, scram_case),
    "hostile": (4, hostile_case),
    "client": (1, client_case),
    "name": (3, name_case),
    "users": (2, users_case),
    "session": (6, session_case),
    "dovecot": (3, dovecot_case),
}
run = functools.partial(run_kinds, KINDS)


if __name__ == "__main__":
    command(__doc__, KINDS)
