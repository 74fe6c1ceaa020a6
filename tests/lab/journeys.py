"""Messages on their way to a mailbox: directly, through a forwarder, through a list, and through both.

Four Letterlock servers run on loopback, each at an address of its own, over a signed DNS: the author's, a list's, a
forwarder's and the receiver's. The list is a program as list programs are: it takes messages from a mailbox, adds a
footer, and sends them on, signed and sealed with `letterlock.dkim` and `letterlock.arc`.

    python -m tests.lab.journeys        # prints what the guide docs/guides/lists-and-forwarders.md shows
"""

import asyncio
import re
import smtplib
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from letterlock import arc, dkim
from letterlock.app.server import running
from letterlock.config import parse
from letterlock.lab.authority import Validity, ZoneKey
from letterlock.lab.dns_server import serving
from letterlock.lab.namespace import NameSpace
from letterlock.lab.zones import Zone
from letterlock.mailauth.results import AuthenticationResults, MethodResult
from letterlock.mailauth.results import parse as parse_results
from letterlock.net.dns import UpstreamTransport, parse_upstream
from letterlock.resolver import Resolver, parse_anchors

PATIENCE_SECONDS = 60.0  # for a message to arrive, on a machine that does much else
POLL_SECONDS = 0.05
PLACES = {"author": "127.0.1.1", "list": "127.0.1.2", "forwarder": "127.0.1.3", "receiver": "127.0.1.4"}
SIGNATURES = ("Ap0OxvYh", "c7Tn2sQe")  # each run has keys of its own, and the guide shows always the same
SECRET = "a secret for this laboratory only"
FOOTER = b"-- \r\nYou read this because you are on the list.\r\n"
BODY = b"Shall we meet on Thursday?\r\n"


@dataclass(frozen=True, slots=True)
class Journey:
    """How a message gets to bob@receiver.test: who is its author, and to whom it is addressed."""

    title: str
    sender: str
    recipient: str


JOURNEYS = (
    Journey("directly", "ann@author.test", "bob@receiver.test"),
    Journey("forwarder", "ann@author.test", "bob@forwarder.test"),
    Journey("forwarder, no signature", "ann@unsigned.test", "bob@forwarder.test"),
    Journey("list", "ann@author.test", "direct@list.test"),
    Journey("list, then forwarder", "ann@author.test", "forwarded@list.test"),
)
SUBSCRIBERS = {"direct": "bob@receiver.test", "forwarded": "bob@forwarder.test"}


@dataclass(frozen=True, slots=True)
class Laboratory:
    """What runs: the servers with their ports, the keys, the mailboxes, and a resolver for the list's program."""

    ports: Mapping[str, int]
    keys: Mapping[str, dkim.SigningKey]
    mailboxes: Path
    resolver: Resolver

    async def send(self, journey: Journey) -> bytes:
        """Send a message by the author's server; what arrives in bob's mailbox."""
        content = message_of(journey)
        await asyncio.to_thread(self._submit, "author", journey.sender, journey.recipient, content)
        subscriber = SUBSCRIBERS.get(journey.recipient.partition("@")[0])
        if journey.recipient.endswith("@list.test") and subscriber is not None:
            received = await self._arrival(self.mailboxes / "list.test" / journey.recipient.partition("@")[0])
            sent_on = await list_program(received, self.keys["list.test"], self.resolver)
            await asyncio.to_thread(self._submit, "list", "bounces@list.test", subscriber, sent_on)
        return await self._arrival(self.mailboxes / "receiver.test" / "bob")

    def _submit(self, server: str, sender: str, recipient: str, content: bytes) -> None:
        """As a program on the server's machine does. Blocks."""
        address, name = PLACES[server], f"client.{server}.test"
        with smtplib.SMTP(address, self.ports[f"{server} relay"], name, PATIENCE_SECONDS, (address, 0)) as client:
            client.sendmail(sender, [recipient], content)

    async def _arrival(self, mailbox: Path) -> bytes:
        """The next message in a mailbox, which is removed. Mailboxes have LF line ends."""
        return dkim.with_crlf(await asyncio.to_thread(_awaited, mailbox / "new"))


def _awaited(folder: Path) -> bytes:
    """What comes into a folder. Blocks. Raises TimeoutError."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := sorted(folder.glob("*"))):
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing came into {folder}")
        time.sleep(POLL_SECONDS)
    content = found[0].read_bytes()
    found[0].unlink()
    return content


def message_of(journey: Journey) -> bytes:
    """A message as a mail program writes it."""
    lines = f"From: Ann <{journey.sender}>\r\nTo: <{journey.recipient}>\r\nSubject: Our meeting\r\n"
    return f"{lines}Date: Thu, 26 Nov 2026 09:00:00 +0000\r\nMessage-ID: <1@author.test>\r\n\r\n".encode() + BODY


async def list_program(received: bytes, key: dkim.SigningKey, resolver: Resolver) -> bytes:
    """What goes on to subscribers: the message with a footer, signed and sealed by the list (RFC 8617 section 5.1).

    The chain is verified as it came, before the footer breaks it; the results are those of the list's own server.
    """
    now = time.time()
    before = dkim.split(received)
    verdict = await arc.verify(before, resolver, now)
    results = arc.own_results(before, "mail.list.test")
    content = b"List-Id: <talk.list.test>\r\n" + received + FOOTER
    content = dkim.Signer([key]).sign(dkim.split(content), now, "list.test") + content
    return arc.seal(dkim.split(content), verdict, results, key, now) + content


# --- the servers ----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def laboratory() -> AsyncIterator[Laboratory]:
    """All servers, from start to end."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="letterlock-journeys-")))
        keys = {name: _key(directory, name) for name in ("author.test", "list.test", "forwarder.test")}
        names = _names(keys)
        port = await stack.enter_async_context(serving("127.0.1.9", names.answer))
        (directory / "anchors").write_text(names.anchor())
        sockets = {
            f"{server} {role}": stack.enter_context(socket.create_server((address, 0)))
            for server, address in PLACES.items()
            for role in ("mx", "relay")
        }
        ports = {name: int(bound.getsockname()[1]) for name, bound in sockets.items()}
        (directory / "secret").write_text(f"{SECRET}\n")
        (directory / "secret").chmod(0o600)
        (directory / "aliases").write_text("bob: bob@receiver.test\n")
        for server in PLACES:
            options = parse(
                _configuration(server, ports, f"127.0.1.9:{port}", directory / "mail"), server, base=directory
            )
            options.queue_directory.mkdir(mode=0o700)
            (directory / "mail" / f"{server}.test").mkdir(parents=True)
            listening = [sockets[f"{server} mx"], sockets[f"{server} relay"]]
            await stack.enter_async_context(running(options, listening))
        transport = UpstreamTransport((parse_upstream(f"127.0.1.9:{port}"),))
        stack.push_async_callback(transport.aclose)
        resolver = Resolver(transport, anchors=parse_anchors(names.anchor()))
        yield Laboratory(ports, keys, directory / "mail", resolver)


def _key(directory: Path, domain: str) -> dkim.SigningKey:
    path = directory / f"{domain}.pem"
    path.write_bytes(dkim.generate_key(dkim.Algorithm.RSA_SHA256))
    path.chmod(0o600)
    return dkim.read_signing_key(path.read_bytes(), domain, "s1")


def _names(keys: Mapping[str, dkim.SigningKey]) -> NameSpace:
    """The DNS: all signed but list.test, so that both can be seen."""
    root, test, unsigned = Zone(".", key=ZoneKey.make()), Zone("test.", key=ZoneKey.make()), Zone("list.test.")
    test.add("ns.nic", "A", "127.0.1.9")
    for server, address in PLACES.items():
        zone = unsigned if server == "list" else test
        zone.add(f"mail.{server}.test.", "A", address)
        zone.add(f"mail.{server}.test.", "TXT", f'"v=spf1 ip4:{address} -all"')
        zone.add(f"{server}.test.", "TXT", f'"v=spf1 ip4:{address} -all"')
    test.add("unsigned", "TXT", f'"v=spf1 ip4:{PLACES["author"]} -all"')
    for domain in ("author", "unsigned"):
        test.add(f"_dmarc.{domain}", "TXT", '"v=DMARC1; p=reject"')
    for domain, key in keys.items():
        record = dkim.zone_line(key.record_name, key.record).partition("( ")[2].removesuffix(" )")
        (unsigned if domain == "list.test" else test).add(f"{key.record_name}.", "TXT", record)
    root.delegate(test)
    test.delegate(unsigned)
    for zone in (unsigned, test, root):
        zone.publish(Validity.around(time.time()))
    return NameSpace([root, test, unsigned])


def _configuration(server: str, ports: Mapping[str, int], upstream: str, mail: Path) -> str:
    address, domain = PLACES[server], f"{server}.test"
    routes = "".join(
        f'[route."{each}.test"]\nnext_hop = "[{PLACES[each]}]"\nport = {ports[f"{each} mx"]}\n'
        for each in PLACES
        if each != server
    )
    own = f'[route."{domain}"]\nnext_hop = "maildir:{mail}/{{domain}}/{{local}}"\ncreate_mailboxes = true\n'
    seal = 'seal_as = "forwarder.test"\n' if server == "forwarder" else ""
    signing = f'[dkim."{domain}"]\nselectors = {{ s1 = "{domain}.pem" }}\n' if server in ("author", "forwarder") else ""
    forwarding = (
        '[table.aliases]\nfile = "aliases"\n[local."forwarder.test"]\naliases = ["aliases"]\n'
        '[forwarding]\nsrs_domain = "forwarder.test"\nsrs_secret_file = "secret"\n'
    )
    return (
        f'hostname = "mail.{domain}"\n'
        f'[queue]\ndirectory = "queue-{server}"\ndrop_directory = false\n'
        f'[resolver]\nupstream = ["{upstream}"]\nanchors = ["anchors"]\n'
        f'[delivery]\nsource_address = ["{address}"]\nmta_sts = false\n'
        f'[[listener]]\nrole = "mx"\nlisten = ["{address}:{ports[f"{server} mx"]}"]\ndomains = ["{domain}"]\n{seal}'
        f'[[listener]]\nrole = "relay"\nlisten = ["{address}:{ports[f"{server} relay"]}"]\n'
        f'relay_networks = ["{address}/32"]\n'
        f"{signing}{routes}{own}{forwarding if server == 'forwarder' else ''}"
    )


# --- what is shown --------------------------------------------------------------------------------------------------


def results_of(received: bytes) -> AuthenticationResults:
    """What the receiver found."""
    fields = dkim.split(received).named(b"authentication-results")
    return next(
        found
        for found in (parse_results(field.value.decode()) for field in fields)
        if found.authserv_id == "mail.receiver.test"
    )


def row(journey: Journey, received: bytes) -> str:
    """One line of the guide's table."""
    found = results_of(received).results
    cells = [_cell(found, method) for method in ("spf", "dkim", "dmarc")]
    chain = next(each.result for each in found if each.method == "arc")
    sets = len(dkim.split(received).named(b"arc-seal"))
    said = dkim.split(received).named(b"arc-authentication-results")
    first = said[-1].value.decode() if said else ""
    before = "; the first server found dmarc=pass" if "dmarc=pass" in first else ""
    cells.append(
        f"{chain}, sealed {sets} times{before}" if sets > 1 else f"{chain}, sealed once{before}" if sets else chain
    )
    return f"| {journey.title} | {' | '.join(cells)} |"


def _cell(found: tuple[MethodResult, ...], method: str) -> str:
    """A method's results with the domains that they are about."""
    about = {"spf": "smtp.mailfrom", "dkim": "header.d", "dmarc": "header.from"}[method]
    shown = []
    for each in found:
        value = dict(each.properties).get(about)
        if each.method == method and value is not None:
            shown.append(f"{each.result} {value.rpartition('@')[2]}")
    return ", ".join(shown) or "none"


async def shown() -> dict[str, list[str]]:
    """The two parts of the guide that a run makes: the table, and what the receiver wrote into mail from the list."""
    async with laboratory() as lab:
        arrived = {journey: await lab.send(journey) for journey in JOURNEYS}
    head = ["| the way | SPF of MAIL FROM | DKIM | DMARC | ARC |", "| --- | --- | --- | --- | --- |"]
    from_list = next(content for journey, content in arrived.items() if journey.title == "list")
    field = dkim.split(from_list).named(b"authentication-results")[0].raw.decode()
    beginnings = iter(SIGNATURES)
    return {
        "table": head + [row(journey, content) for journey, content in arrived.items()],
        "field": re.sub(r"header\.b=\S+", lambda _: f"header.b={next(beginnings)}", field).split("\r\n"),
    }


if __name__ == "__main__":
    for part in asyncio.run(shown()).values():
        sys.stdout.write("\n".join(part) + "\n\n")
