"""Letterlock's client delivers to foreign servers: in clear, by STARTTLS, by implicit TLS, with and without PIPELINING.

Each server keeps what it gets, and every octet of the content is looked at: dots, 8-bit text, long lines, much.
"""

import random
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from letterlock.deliver.options import DeliverOptions
from letterlock.deliver.session import Opened, Ports, open_session
from letterlock.deliver.transaction import Transacted, transact
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

pytestmark = pytest.mark.interop

SENDER = Mailbox("sender", "example.net")
ANN, BOB = Mailbox("ann", DOMAIN), Mailbox("bob", DOMAIN)
CLOCK = HandClock()
PORTS = Ports(discoverer=HandDiscoverer(), dialer=TcpDialer(), clock=CLOCK, shuffle=as_they_are)
FACES = {  # of each peer: what it can show
    "exim": ("full", "bare", "implicit"),
    "opensmtpd": ("full",),
    "aiosmtpd": ("full", "implicit"),
    "postfix": ("full", "bare"),
    "dovecot": ("full",),
}
WITHOUT_TLS = {"opensmtpd"}
SHOWN = [
    (peer, face, tls)
    for peer, faces in FACES.items()
    for face in faces
    for tls in (("implicit",) if face == "implicit" else ("clear",) if peer in WITHOUT_TLS else ("clear", "starttls"))
]
PIPELINING = {("exim", "full"), ("postfix", "full"), ("dovecot", "full"), ("exim", "implicit")}


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
        place = Place.free(f"{prefix}.5")
        lmtp = dovecot(
            directory / "dovecot",
            place,
            hostname=HOSTNAME,
            users=("ann", "bob"),
            certificate=certificate,
            key=key,
            tls=True,
        )
        mail = stack.enter_context(lmtp).directory / "mail"
        yield found | {"dovecot": Peer("dovecot", (mail,), place)}


def content(subject: str, *, eight_bit: bool) -> bytes:
    """A message that a careless client or server would change."""
    chance = random.Random(subject)
    lines = [b".", b"..", b".dot", b"", b"From here", b"\tx", b"x" * 998]
    if eight_bit:
        lines.append("äöü €".encode())
    lines += [bytes(chance.choices(b"abc. ", k=chance.randrange(1, 70))) + b"|" for _ in range(3000)]
    head = b"From: sender@example.net\r\nTo: ann@example.org\r\nSubject: " + subject.encode() + b"\r\n\r\n"
    return head + b"\r\n".join(lines) + b"\r\n"


async def session(peer: Peer, face: str, tls: str) -> tuple[Opened, DeliverOptions]:
    """A cleared session with one face of a peer."""
    place = getattr(peer, face)
    options = DeliverOptions(hostname="client.example", port=place.port)
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
    return opened, options


async def send(opened: Opened, body: bytes, *recipients: Mailbox) -> Transacted:
    """One message in a session."""
    envelope = Envelope(
        id="4F2A1", reverse_path=SENDER, recipients=recipients, size=len(body), accepted_at=0.0, expires_at=1.0
    )
    return await transact(opened.cleared, opened.conversation, envelope, recipients, body, server="the peer")


def body_of(message: bytes) -> bytes:
    """What stands behind the header section, with the line ends of files, without those that a server added."""
    return message.partition(b"\n\n")[2].rstrip(b"\n") + b"\n"


def arrives(peer: Peer, subject: str) -> None:
    """Wait until a server has a message where it keeps them."""
    wait_until(lambda: bool(peer.kept(subject)), what=f"{subject!r} to be kept")


@pytest.mark.parametrize(("name", "face", "tls"), SHOWN, ids=["-".join(each) for each in SHOWN])
async def test_messages_arrive_whole(name: str, face: str, tls: str, running: dict[str, Peer]) -> None:
    peer = running[name]
    opened, _ = await session(peer, face, tls)
    offered = opened.conversation.client.capabilities
    assert offered.pipelining == ((name, face) in PIPELINING)
    assert face != "bare" or not offered.chunking
    subjects = [f"{name} {face} {tls} {number}" for number in range(3)]
    for subject in subjects:
        body = content(subject, eight_bit=offered.eight_bit_mime)
        done = await send(opened, body, ANN, BOB)
        assert done.lost is None, done
        assert {one.kind for one in done.outcomes.values()} == {OutcomeKind.DELIVERED}, done
    await opened.conversation.end()
    for subject in subjects:
        arrives(peer, subject)
        sent = content(subject, eight_bit=offered.eight_bit_mime).replace(b"\r\n", b"\n")
        assert {body_of(message) for message in peer.kept(subject)} == {body_of(sent)}
