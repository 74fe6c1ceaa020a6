"""Letterlock's client delivers to foreign servers: in cleartext, by STARTTLS, by implicit TLS, each with and without
PIPELINING and CHUNKING, be it that the server does not offer them or that the client may not use them.

Each server keeps what it gets, and every octet of the content is looked at: dots, 8-bit text, long lines, much. The
table in docs/reference/peers.md is held to what is shown here.
"""

import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import zip_longest
from pathlib import Path

import pytest

from letterlock.deliver.options import DeliverOptions
from letterlock.deliver.session import Opened, Ports, open_session
from letterlock.deliver.transaction import MessageInSession, Transacted, begin_behind, transact
from letterlock.mail.addresses import Mailbox
from letterlock.mail.envelope import Envelope
from letterlock.net.dial import TcpDialer
from letterlock.policy.decision import Encryption, Requirement
from letterlock.queue.tasks import OutcomeKind
from tests.certificates import authority
from tests.deliver.world import HandClock, HandDiscoverer, as_they_are
from tests.interop import peers
from tests.interop.dovecot import dovecot
from tests.interop.lab import public_directory
from tests.interop.nameservers import Place
from tests.interop.peers import DOMAIN, HOSTNAME, Peer
from tests.interop.programs import loopback_prefix, wait_until
from tests.smtp.test_client import without

pytestmark = pytest.mark.interop

SENDER = Mailbox("sender", "example.net")
ANN, BOB = Mailbox("ann", DOMAIN), Mailbox("bob", DOMAIN)
CLOCK = HandClock()
PORTS = Ports(discoverer=HandDiscoverer(), dialer=TcpDialer(), clock=CLOCK, shuffle=as_they_are)
FACES = {  # of each peer: what it can show
    "exim": ("full", "bare", "implicit"),
    "opensmtpd": ("full",),
    "aiosmtpd": ("full", "implicit"),
    "postfix": ("full", "bare", "implicit"),
    "dovecot": ("full", "implicit"),
}
WITHOUT_TLS = {"opensmtpd"}
SHOWN = [
    (peer, face, tls)
    for peer, faces in FACES.items()
    for face in faces
    for tls in (("implicit",) if face == "implicit" else ("clear",) if peer in WITHOUT_TLS else ("clear", "starttls"))
]
OFFER_PIPELINING = OFFER_CHUNKING = {
    (peer, face) for peer in ("exim", "postfix", "dovecot") for face in ("full", "implicit")
}
REFUSING = {  # whom these do not want
    "postfix": Mailbox("somebody", "elsewhere.example"),
    "dovecot": Mailbox("nobody", DOMAIN),
    "exim": Mailbox("nobody", "elsewhere.example"),
}
OFFER_SMTPUTF8 = {"exim", "postfix", "aiosmtpd"}
WAYS = [(True, True), (True, False), (False, True), (False, False)]  # PIPELINING, CHUNKING


@pytest.fixture(name="running", scope="module")
def running_fixture() -> Iterator[dict[str, Peer]]:
    """All peers."""
    with public_directory() as directory, ExitStack() as stack:
        certificate, key = authority().leaf(HOSTNAME).write(directory)
        key.chmod(0o644)
        prefix = loopback_prefix()
        known = {
            "exim": peers.exim(directory / "exim", f"{prefix}.1", certificate=certificate, key=key),
            "opensmtpd": peers.opensmtpd(directory / "opensmtpd", f"{prefix}.2"),
            "aiosmtpd": peers.aiosmtpd(directory / "aiosmtpd", f"{prefix}.3", certificate=certificate, key=key),
            "postfix": peers.postfixes(directory / "postfix", f"{prefix}.4", certificate=certificate, key=key),
        }
        found = {name: stack.enter_context(peer) for name, peer in known.items()}
        place, implicit = Place.free(f"{prefix}.5"), Place.free(f"{prefix}.5")
        lmtp = dovecot(
            directory / "dovecot",
            place,
            hostname=HOSTNAME,
            users=("ann", "bob"),
            certificate=certificate,
            key=key,
            tls=True,
            implicit=implicit,
        )
        mail = stack.enter_context(lmtp).directory / "mail"
        yield found | {"dovecot": Peer("dovecot", (mail,), place, implicit=implicit)}


def content(subject: str, *, eight_bit: bool) -> bytes:
    """A message that a careless client or server would change; the first of a session is small enough to go early."""
    chance = random.Random(subject)
    lines = [b".", b"..", b".dot", b"", b"From here", b"\tx", b"x" * 998]
    if eight_bit:
        lines.append("äöü €".encode())
    lines += [
        bytes(chance.choices(b"abc. ", k=chance.randrange(1, 70))) + b"|"
        for _ in range(1000 if subject.endswith("0") else 3000)
    ]
    head = b"From: sender@example.net\r\nTo: ann@example.org\r\nSubject: " + subject.encode() + b"\r\n\r\n"
    return head + b"\r\n".join(lines) + b"\r\n"


async def session(peer: Peer, face: str, tls: str, way: tuple[bool, bool]) -> Opened:
    """A cleared session with one face of a peer."""
    place = getattr(peer, face)
    pipelining, chunking = way
    ignored = without(pipelining=pipelining, chunking=chunking)
    options = DeliverOptions(hostname="client.example", port=place.port, ignore_ehlo=ignored)
    wanted = Encryption.NONE if tls == "clear" else Encryption.MANDATORY
    requirement = Requirement(encryption=wanted, authentication=None, sni=HOSTNAME, fallback=None, reasons=())
    opened = await open_session(
        place.address,
        requirement,
        ports=PORTS,
        options=options,
        implicit=tls == "implicit",
        lmtp=peer.name == "dovecot",
    )
    assert isinstance(opened, Opened), opened
    assert (opened.handshake is None) == (tls == "clear")
    return opened


def envelope_of(body: bytes, *recipients: Mailbox) -> Envelope:
    """The envelope of a message."""
    return Envelope(
        id="4F2A1", reverse_path=SENDER, recipients=recipients, size=len(body), accepted_at=0.0, expires_at=1.0
    )


async def send(opened: Opened, body: bytes, *recipients: Mailbox) -> Transacted:
    """One message in a session."""
    return await transact(opened, envelope_of(body, *recipients), recipients, body, server="the peer")


async def send_in_groups(opened: Opened, messages: Sequence[tuple[bytes, Mailbox]]) -> tuple[list[Transacted], int]:
    """Messages whose envelopes follow the contents before them, where they may; and how many did."""
    done, followed = [], 0
    begun: MessageInSession | None = None
    for (body, recipient), following in zip_longest(messages, messages[1:]):
        started: list[MessageInSession | None] = []

        def invite(following: tuple[bytes, Mailbox], started: list[MessageInSession | None]) -> bool:
            body, recipient = following
            envelope = envelope_of(body, recipient)
            started.append(begin_behind(opened, envelope, (recipient,), body, server="the peer"))
            return started[0] is not None

        envelope = envelope_of(body, recipient)
        letting = None if following is None else partial(invite, following, started)
        done.append(
            await transact(opened, envelope, (recipient,), body, server="the peer", begun=begun, invite=letting)
        )
        begun = started[0] if started else None
        followed += begun is not None
    return done, followed


def body_of(message: bytes) -> bytes:
    """What stands behind the header section, with the line ends of files, without those that a server added."""
    return message.partition(b"\n\n")[2].rstrip(b"\n") + b"\n"


def arrives(peer: Peer, subject: str) -> None:
    """Wait until a server has a message where it keeps them."""
    wait_until(lambda: bool(peer.kept(subject)), what=f"{subject!r} to be kept")


@pytest.mark.parametrize("way", WAYS, ids=["both", "pipelining", "chunking", "neither"])
@pytest.mark.parametrize(("name", "face", "tls"), SHOWN, ids=["-".join(each) for each in SHOWN])
async def test_messages_arrive_whole(
    name: str, face: str, tls: str, way: tuple[bool, bool], running: dict[str, Peer]
) -> None:
    peer = running[name]
    opened = await session(peer, face, tls, way)
    offered = opened.conversation.client.capabilities
    assert ("PIPELINING" in offered.keywords) == ((name, face) in OFFER_PIPELINING)
    assert ("CHUNKING" in offered.keywords) == ((name, face) in OFFER_CHUNKING)
    assert opened.conversation.client.chunking == (offered.chunking and way[1])
    subjects = [f"{name} {face} {tls} {way} {number}" for number in range(3)]
    for subject in subjects:
        body = content(subject, eight_bit=offered.eight_bit_mime)
        done = await send(opened, body, ANN, BOB)
        client = opened.conversation.client
        assert client.sent_early == (subject is subjects[0] and client.chunking and offered.pipelining and way[0])
        assert done.lost is None, done
        assert {one.kind for one in done.outcomes.values()} == {OutcomeKind.DELIVERED}, done
    await opened.conversation.end()
    for subject in subjects:
        arrives(peer, subject)
        sent = content(subject, eight_bit=offered.eight_bit_mime).replace(b"\r\n", b"\n")
        assert {body_of(message) for message in peer.kept(subject)} == {body_of(sent)}


@pytest.mark.parametrize("chunking", [True, False])
@pytest.mark.parametrize(
    ("name", "face", "tls"),
    [each for each in SHOWN if each[:2] in OFFER_PIPELINING and each[0] != "dovecot"],
)
async def test_rfc2920_3_1_envelopes_follow_the_contents_before_them_and_all_arrive_whole(
    name: str, face: str, tls: str, chunking: bool, running: dict[str, Peer]
) -> None:
    peer = running[name]
    opened = await session(peer, face, tls, (True, chunking))
    subjects = [f"group {name} {face} {tls} {chunking} {number} 0" for number in range(6)]
    bodies = [content(subject, eight_bit=True) for subject in subjects]
    messages = [(body, ANN) for body in bodies]
    messages[3] = bodies[3], REFUSING[name]
    done, followed = await send_in_groups(opened, messages)
    assert [one.lost for one in done] == [None] * 6
    kinds = [next(iter(one.outcomes.values())).kind for one in done]
    assert kinds == [OutcomeKind.FAILED if number == 3 else OutcomeKind.DELIVERED for number in range(6)]
    # None behind one that went with its envelope, nor behind one that nobody was accepted for.
    assert followed == (3 if chunking else 4)
    await opened.conversation.end()
    for subject, body in zip(subjects, bodies, strict=True):
        if body is bodies[3]:
            assert peer.kept(subject) == []
            continue
        arrives(peer, subject)
        assert {body_of(message) for message in peer.kept(subject)} == {body_of(body.replace(b"\r\n", b"\n"))}


UNUSUAL = {
    "nothing": b"",
    "no last line end": b"the last line",
    "a dot at the end": b"x\r\n.",
    "much": b"".join(b"%d %b\r\n" % (number, b"." * 60) for number in range(16_000)),
}


@pytest.mark.parametrize("chunking", [True, False])
@pytest.mark.parametrize("name", FACES)
async def test_unusual_bodies_arrive_whole(name: str, chunking: bool, running: dict[str, Peer]) -> None:
    peer = running[name]
    opened = await session(peer, "full", "clear", (True, chunking))
    for what, body in UNUSUAL.items():
        subject = f"{name} {chunking} {what}"
        done = await send(opened, b"From: <>\r\nSubject: %b\r\n\r\n%b" % (subject.encode(), body), ANN)
        assert {one.kind for one in done.outcomes.values()} == {OutcomeKind.DELIVERED}, done
        arrives(peer, subject)
        wanted = body.replace(b"\r\n", b"\n").rstrip(b"\n") + b"\n"
        assert {body_of(message) for message in peer.kept(subject)} == {wanted}
    await opened.conversation.end()


@pytest.mark.parametrize("tls", ["clear", "starttls"])
@pytest.mark.parametrize("name", REFUSING)
async def test_a_message_that_went_early_and_nobody_wants_is_read_and_the_session_goes_on(
    name: str, tls: str, running: dict[str, Peer]
) -> None:
    """It holds what would be commands: a server that took it for such would have another message."""
    peer = running[name]
    opened = await session(peer, "full", tls, (True, True))
    smuggled = b"MAIL FROM:<evil@example.net>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\nSubject: smuggled\r\n\r\n.\r\n"
    done = await send(opened, b"Subject: x\r\n\r\n.\r\n" + smuggled, REFUSING[name])
    assert opened.conversation.client.sent_early
    assert [one.kind for one in done.outcomes.values()] == [OutcomeKind.FAILED], done
    subject = f"after a refusal {name} {tls}"
    done = await send(opened, b"From: <>\r\nSubject: %b\r\n\r\nx\r\n" % subject.encode(), ANN)
    assert [one.kind for one in done.outcomes.values()] == [OutcomeKind.DELIVERED], done
    await opened.conversation.end()
    arrives(peer, subject)
    assert peer.kept("smuggled") == []


def test_the_reference_says_what_is_shown_here() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "peers.md").read_text()
    for peer, faces in FACES.items():
        cells = [
            "yes",
            "no" if peer in WITHOUT_TLS else "yes",
            "yes" if "implicit" in faces else "no",
            *(["yes" if (peer, "full") in OFFER_PIPELINING else "not offered"] * 2),
            "yes" if peer in OFFER_SMTPUTF8 else "not offered",
        ]
        row = next(line for line in page.lower().splitlines() if line.startswith(f"| {peer}"))
        assert [cell.strip() for cell in row.split("|")[2:8]] == cells, peer


@pytest.mark.parametrize("name", FACES)
async def test_rfc6531_mail_beyond_ascii_goes_where_smtputf8_is_offered(name: str, running: dict[str, Peer]) -> None:
    peer = running[name]
    opened = await session(peer, "full", "clear", (True, True))
    assert opened.conversation.client.capabilities.smtputf8 == (name in OFFER_SMTPUTF8)
    subject = f"grüße an {name}"
    body = f"From: jörg@bücher.example\r\nSubject: {subject}\r\n\r\nx\r\n".encode()
    sender = Mailbox("jörg", "xn--bcher-kva.example")
    envelope = Envelope(
        id="4F2A1",
        reverse_path=sender,
        recipients=(ANN,),
        size=len(body),
        accepted_at=0.0,
        expires_at=1.0,
        smtputf8=True,
    )
    done = await transact(opened, envelope, (ANN,), body, server="the peer")
    await opened.conversation.end()
    if name in OFFER_SMTPUTF8:
        assert [one.kind for one in done.outcomes.values()] == [OutcomeKind.DELIVERED], done
        arrives(peer, subject)
    else:
        assert [one.status for one in done.unable.values()] == ["5.6.7"]
