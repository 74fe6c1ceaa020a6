"""Hostile strangers in the mix: hosts that never answer, chains made to cost, and DNS replies made to cost.

Mail to them goes out all the time. None of it can be delivered: it must wait in the queue or come back, and meanwhile
other mail goes on and no event loop stands still.
"""

import contextlib
import random
import socket
import socketserver
import ssl
import struct
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import dns.exception
import dns.message
import dns.rcode
import dns.rrset
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import load_der_x509_certificate

from tests.identity.hostile_chains import dear_loop, honest_loop, rsa_key
from tests.interop.nameservers import Place
from tests.soak.senders import Ledger, Sender

DNS_PORT = 5353
MAIL_PAUSE_SECONDS = 0.4  # mean, between two messages of one sender to strangers
MAX_LINE_OCTETS = 4096
IDLE_SECONDS = 20.0
RECORDS = 60  # of denial in one reply: as many as a datagram of 4,096 octets holds
LABELS = 40


class Strangers:
    """The silent host, the host with the chain, and the DNS server; `leaked`: mail that the host with the chain had."""

    def __init__(self, prefix: str, directory: Path) -> None:
        self.silent, self.dear, self.dns = f"{prefix}.101", f"{prefix}.102", f"{prefix}.103"
        self.leaked: list[bytes] = []
        self.handshakes = 0
        self.queries = 0
        self.authority = directory / "strangers-authority.pem"
        self._directory = directory
        self._stack = contextlib.ExitStack()

    @property
    def rules(self) -> str:
        """What the server's configuration says of them: a certificate is demanded, so each chain is judged."""
        return f'[domain."[{self.dear}]"]\ntls = "verify"\nnames = ["dear.test"]\ntrust = "{self.authority}"\n'

    @property
    def destinations(self) -> list[str]:
        """Domains of mail that goes to them; names are looked up, and each lookup meets the DNS server."""
        names = [".".join([f"{number}"] * LABELS) + ".hostile.test" for number in range(3)]
        return [f"[{self.silent}]", f"[{self.dear}]", *names]

    def begin(self, port: int) -> Self:
        """Listen. Mail servers are asked for on `port`."""
        self._be_silent(port)
        context = self._dear_context()
        _serve(self._stack, _TcpServer((self.dear, port), _DearSession, self, context))
        _serve(self._stack, _UdpServer((self.dns, DNS_PORT), _DnsReply, self))
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _be_silent(self, port: int) -> None:
        """A backlog that is full: the kernel lets connections to it wait, as a host does that drops packets."""
        listener = self._stack.enter_context(socket.socket())
        listener.bind((self.silent, port))
        listener.listen(0)
        for _ in range(2):
            filler = self._stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex((self.silent, port))

    def _dear_context(self) -> ssl.SSLContext:
        """A server whose chain is a loop of authorities and keys that are dear to use."""
        loop, dear = honest_loop(6), dear_loop()
        key = rsa_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        pem = b"".join(load_der_x509_certificate(one).public_bytes(Encoding.PEM) for one in (*loop, *dear))
        chain = self._directory / "strangers-chain.pem"
        chain.write_bytes(key + pem)
        self.authority.write_bytes(load_der_x509_certificate(honest_loop(7)[6]).public_bytes(Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        return context


class StrangersSender(Sender):
    """Sends to strangers; what was answered 250 is in a ledger of its own."""

    def __init__(self, number: int, place: Place, back: str, strangers: Strangers, ledger: Ledger, seed: int) -> None:
        super().__init__(number, place, [back], ledger, seed, MAIL_PAUSE_SECONDS)
        self._destinations = strangers.destinations

    def _recipient(self, number: str) -> str:
        return f"r-{number}@{self._chance.choice(self._destinations)}"


class _TcpServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(
        self,
        place: tuple[str, int],
        handler: type["_DearSession"],
        strangers: Strangers,
        context: ssl.SSLContext,
    ) -> None:
        self.strangers, self.context = strangers, context
        super().__init__(place, handler)


class _UdpServer(socketserver.ThreadingUDPServer):
    daemon_threads = True

    def __init__(self, place: tuple[str, int], handler: type["_DnsReply"], strangers: Strangers) -> None:
        self.strangers = strangers
        super().__init__(place, handler)


def _serve(stack: contextlib.ExitStack, server: socketserver.BaseServer) -> None:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    stack.callback(thread.join)
    stack.callback(server.server_close)
    stack.callback(server.shutdown)


class _DearSession(socketserver.StreamRequestHandler):
    timeout = IDLE_SECONDS
    server: _TcpServer

    def handle(self) -> None:
        """Speak SMTP up to the handshake, and note whatever comes after MAIL."""
        with contextlib.suppress(OSError):
            self.wfile.write(b"220 dear.test ESMTP\r\n")
            while (line := self.rfile.readline(MAX_LINE_OCTETS)) and not line.upper().startswith(b"STARTTLS"):
                self._answer(line, b"250-dear.test\r\n250 STARTTLS\r\n")
            self.wfile.write(b"220 go on\r\n")
            with self.server.context.wrap_socket(self.connection, server_side=True) as secured:
                self.server.strangers.handshakes += 1
                with secured.makefile("rwb", buffering=0) as stream:
                    while line := stream.readline(MAX_LINE_OCTETS):
                        self._answer(line, b"250 dear.test\r\n", stream.write)

    def _answer(self, line: bytes, hello: bytes, write: object = None) -> None:
        send = write if callable(write) else self.wfile.write
        if line.upper().startswith((b"MAIL", b"RCPT", b"DATA")):
            self.server.strangers.leaked.append(line)
        send(hello if line.upper().startswith(b"EHLO") else b"250 ok\r\n")


class _DnsReply(socketserver.BaseRequestHandler):
    server: _UdpServer

    def handle(self) -> None:
        """One reply that costs, or none; whatever comes must not be believed, nor hold anybody up."""
        wire, connection = self.request
        self.server.strangers.queries += 1
        chance = random.Random(self.server.strangers.queries)
        with contextlib.suppress(OSError, ValueError, dns.exception.DNSException):
            for octets in _reply(wire, chance):
                connection.sendto(octets, self.client_address)


def _reply(wire: bytes, chance: random.Random) -> list[bytes]:
    kind = chance.randrange(5)
    if kind == 0:
        return []
    if kind == 1:
        return [wire[:2] + chance.randbytes(chance.randrange(200))]
    made = dns.message.make_response(dns.message.from_wire(wire))
    name = made.question[0].name
    if kind == 2:
        made.set_rcode(dns.rcode.SERVFAIL)
    elif kind == 3:
        for one in (f"{chance.getrandbits(128):032x}" for _ in range(RECORDS)):  # hexadecimal digits are base32hex too
            made.authority.append(
                dns.rrset.from_text(f"{one}.hostile.test.", 60, "IN", "NSEC3", f"1 0 100 ab {one} A RRSIG")
            )
    else:
        made.answer.append(dns.rrset.from_text(name, 60, "IN", "MX", *(f"{n} m{n}.hostile.test." for n in range(40))))
    return [made.to_wire()[:4096], struct.pack("!H", 0) + wire[2:]]
