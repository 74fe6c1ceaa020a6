"""A lab box with Postfix in several set-ups in front of it: alone with Unbound, and behind each door of ours.

The attackers, the honest servers and the DNS are those of `letterlock lab`. Each Postfix runs smtp(8) chrooted, as
Debian has it, and asks one resolver at port 53 of a loopback address of its own.
"""

import asyncio
import random
import re
import smtplib
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from letterlock.app import server as app
from letterlock.companion.answer_memory import AnswerMemory
from letterlock.companion.deciding import Decided, decide
from letterlock.companion.options import PolicyServerOptions
from letterlock.companion.policy_door import PolicyDoor
from letterlock.companion.postfix_policy import NotDemanded, NotFoundOut, PolicyAnswer
from letterlock.lab.box import Box, running_box
from letterlock.lab.scenarios import Attack, SiteProtection
from letterlock.lab.subject import ObservedState, Subject, lab_options, see_policies, write_config
from letterlock.mtasts import Known, Mode
from letterlock.policy.evidence import TargetHost
from letterlock.resolver.answer import Answer, LookupFailure
from letterlock.routing.routes import NextHop
from letterlock.socketmap.tls_policy import TlsLevel, TlsPolicy
from tests.interop.nameservers import Place, forwarding_unbound
from tests.interop.postfix import Postfix, companion_sender

_T = TypeVar("_T")
MODERN_TLS = ">=TLSv1.2"  # smtp_tls_mandatory_protocols of Postfix 3.6 and later; its default begins with TLS 1.0
STATUS_SECONDS = 60.0  # until Postfix has tried: three MX addresses at most, each with a deadline of its own


class Setup(StrEnum):
    """How Postfix is set up."""

    UNBOUND = "Postfix with Unbound alone"
    STAND_IN = "Postfix with Unbound and a policy server that answers `dane` (stand-in)"
    RESOLVER = "resolver door"
    POLICY = "policy door, with fingerprints and a resolver that does not validate"
    BOTH = "resolver and policy door"
    RELAY = "relay door"
    ALL = "all three doors"


class Fate(StrEnum):
    """What became of a message."""

    HELD = "held"
    READ = "read by the attacker"
    DELIVERED = "delivered, encrypted"
    RETURNED = "returned to the sender"
    CRASHED = "held, and the server ended"
    CLEAR = "delivered in cleartext"
    UNDECIDED = "undecided"


_STATUS = {"deferred": Fate.HELD, "bounced": Fate.RETURNED}


@dataclass
class Lined:
    """A running box and the Postfix of each set-up."""

    box: Box
    subject: Subject
    server: app.Server
    postfixes: Mapping[Setup, Postfix]
    unbound: str  # the address of a validating resolver, at port 53
    home: Path  # for further programs, also of those who gave up root

    async def fate(self, setup: Setup, protection: SiteProtection, secret: str | None = None) -> Fate:
        """Send one message, with a secret of its own if none is given, and wait for what becomes of it."""
        postfix, secret = self.postfixes[setup], secret or f"{random.getrandbits(128):032x}"
        recipient = f"r{secret[:12]}@{self.box.world.sites[protection].domain}"
        await asyncio.to_thread(submit, postfix.place, recipient, secret)
        line = await status_line(postfix, recipient)
        relayed = re.search(r"status=sent \(250 .*queued as (\w+)\)", line)
        if f"[{self.server.smtp_addresses[0][0]}]:" not in line:
            relayed = None  # the honest server, or the attacker
        otherwise = next((fate for status, fate in _STATUS.items() if f"status={status}" in line), Fate.UNDECIDED)
        if relayed is not None:
            held = await self._held_by_us(relayed[1], recipient, protection, secret.encode())
            otherwise = Fate.HELD if held else Fate.UNDECIDED
        return self.became(protection, secret.encode(), otherwise)

    async def _held_by_us(self, message_id: str, recipient: str, protection: SiteProtection, secret: bytes) -> bool:
        """Whether our own queue keeps a message; what was delivered leaves no record there."""
        end = time.monotonic() + STATUS_SECONDS
        while time.monotonic() < end:
            if self.box.delivered(protection, secret) or self.box.stolen(protection, secret):
                return False
            record = await self.subject.record_of(message_id, recipient, timeout_seconds=0.2)
            if record is not None:
                return record.state is ObservedState.DEFERRED
        return False

    def became(self, protection: SiteProtection, secret: bytes, otherwise: Fate) -> Fate:
        """What the mailboxes and the attackers' loot say of a secret; `otherwise`: what its sender says."""
        if self.box.stolen(protection, secret):
            return Fate.READ
        if self.box.delivered(protection, secret):
            return Fate.DELIVERED if self.box.seen_encrypted(protection, secret) else Fate.CLEAR
        return otherwise


def submit(place: Place, recipient: str, secret: str) -> None:
    with smtplib.SMTP(place.address, place.port, local_hostname="client.test", timeout=STATUS_SECONDS) as client:
        client.sendmail("ann@sender.test", [recipient], f"Subject: a letter\r\n\r\nThe secret is {secret}.\r\n")


async def status_line(postfix: Postfix, recipient: str) -> str:
    """The first line of Postfix' log that says what became of a recipient."""
    end = time.monotonic() + STATUS_SECONDS
    while time.monotonic() < end:
        for line in postfix.log().splitlines():
            if f"to=<{recipient}>" in line and "status=" in line:
                return line
        await asyncio.sleep(0.1)
    return ""


def stand_in_answer(decided: Decided) -> PolicyAnswer:
    """What a policy server answers by the documented precedence of postfix-tlspol: DANE anywhere drops MTA-STS.

    It is a stand-in: our own lookups, their precedence. postfix-tlspol itself is not run.
    """
    targets = [each.target for each in decided.hosts if each.target.addresses]
    if any(isinstance(each.tlsa, LookupFailure) for each in targets) or isinstance(decided.evidence.mx, LookupFailure):
        return NotFoundOut("a lookup failed")
    with_tlsa = [each for each in targets if _has_tlsa(each)]
    if with_tlsa:
        whole = len(with_tlsa) == len(targets) and all(each.host.secure for each in targets)
        return TlsPolicy(level=TlsLevel.DANE_ONLY if whole else TlsLevel.DANE)
    sts = decided.evidence.sts
    if isinstance(sts, Known) and sts.policy.mode is Mode.ENFORCE:
        return TlsPolicy(level=TlsLevel.SECURE, match=sts.policy.mx, servername="hostname")
    return NotDemanded()


def _has_tlsa(target: TargetHost) -> bool:
    return isinstance(target.tlsa, Answer) and target.tlsa.secure and bool(target.tlsa.records)


@asynccontextmanager
async def lined_up(attack: Attack, setups: tuple[Setup, ...] = tuple(Setup), *, port: int = 0) -> AsyncIterator[Lined]:
    """A box, the server of ours with its doors, and a Postfix for each set-up. `port`: that of the box, if not any."""
    net = f"127.{random.randrange(60, 250)}.{random.randrange(1, 250)}"
    async with AsyncExitStack() as stack:
        box = await stack.enter_async_context(running_box(attack, port=port))
        home = stack.enter_context(directory_for_postfix())
        config = write_config(box, f"{box.subject_address}:{box.berths.port}")
        text = config.read_text().replace("[resolver]\n", f'[resolver]\nlisten = ["{net}.1:53"]\n')
        config.write_text(f'{text}\n[policy_server]\nlisten = ["{net}.1:0"]\nrelay = "smtp:{_relay(box)}"\n')
        await see_policies(box, config)
        server = await stack.enter_async_context(app.running(lab_options(config, box)))
        places = {Setup.BOTH: server.doors.policy.places[0]}
        places[Setup.STAND_IN] = await stack.enter_async_context(_policy_door(server, box, stand_in=True))
        places[Setup.POLICY] = await stack.enter_async_context(_policy_door(server, box, stand_in=False))
        threads = await stack.enter_async_context(in_threads())
        if {Setup.UNBOUND, Setup.STAND_IN} & set(setups) or port:
            upstream = Place(box.resolver.rpartition(":")[0], int(box.resolver.rpartition(":")[2]))
            directory = box.directory / "unbound"
            directory.mkdir()
            place = Place(f"{net}.2", 53)
            box.peace.set()  # it has run for long, and knows the root's keys, when the attack begins
            await threads.start(forwarding_unbound(directory, place, upstream, box.anchor_file))
            box.peace.clear()
        stack.enter_context(plain_forwarder(f"{net}.3", box.resolver))
        relay = server.smtp_addresses[0]
        postfixes = {setup: await threads.start(_postfix(box, home, setup, net, places, relay)) for setup in setups}
        yield Lined(box, Subject(server), server, postfixes, f"{net}.2", home)


@contextmanager
def directory_for_postfix() -> Iterator[Path]:
    """A temporary directory that Postfix can enter after it has given up root."""
    with tempfile.TemporaryDirectory(prefix="letterlock-companion-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def _relay(box: Box) -> str:
    return f"[{box.subject_address}]:{box.berths.port}"


@asynccontextmanager
async def in_threads() -> AsyncIterator["Threads"]:
    """Start what blocks in threads, so that the box answers meanwhile, and end it in the same way."""
    threads = Threads()
    try:
        yield threads
    finally:
        await asyncio.to_thread(threads.stack.close)


class Threads:
    def __init__(self) -> None:
        self.stack = ExitStack()

    async def start(self, context: AbstractContextManager[_T]) -> _T:
        return await asyncio.to_thread(self.stack.enter_context, context)


@asynccontextmanager
async def _policy_door(server: app.Server, box: Box, *, stand_in: bool) -> AsyncIterator[tuple[str, int]]:
    """Another policy door on the same evidence: the stand-in, or ours with fingerprints."""
    discoverer = server.discoverer.for_another_server()

    async def find(hop: NextHop) -> Decided:
        decided = await decide(discoverer, hop, fingerprints=not stand_in)
        return replace(decided, answer=stand_in_answer(decided)) if stand_in else decided

    memory = AnswerMemory(find, time.monotonic)
    door = PolicyDoor(PolicyServerOptions(), memory, usual_port=box.berths.port)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        await door.start([listening])
        try:
            yield listening.getsockname()[:2]
        finally:
            await door.stop()


def _postfix(
    box: Box, home: Path, setup: Setup, net: str, places: Mapping[Setup, tuple[str, int]], relay: tuple[str, int]
) -> AbstractContextManager[Postfix]:
    resolver = {Setup.UNBOUND: 2, Setup.STAND_IN: 2, Setup.POLICY: 3}.get(setup, 1)
    parameters = {"smtp_tcp_port": str(box.berths.port), "smtp_tls_CAfile": str(box.authority_file)}
    door = places.get(Setup.BOTH if setup is Setup.ALL else setup)
    if door is not None:
        parameters["smtp_tls_policy_maps"] = f"socketmap:inet:{door[0]}:{door[1]}:QUERY"
    if setup in (Setup.UNBOUND, Setup.RESOLVER, Setup.STAND_IN):  # nobody tells them what the operator demands
        maps = operators_map(box, home / f"operator-{setup.name.lower()}")
        parameters["smtp_tls_policy_maps"] = ", ".join(filter(None, [maps, parameters.get("smtp_tls_policy_maps")]))
        parameters["smtp_tls_mandatory_protocols"] = MODERN_TLS  # the others are to hold by our answer alone
    if setup is Setup.POLICY:
        parameters["smtp_tls_fingerprint_digest"] = "sha256"
    if setup is Setup.RELAY:
        parameters["default_transport"] = f"smtp:[{relay[0]}]:{relay[1]}"
    if setup is Setup.ALL and door is not None:
        parameters["transport_maps"] = f"socketmap:inet:{door[0]}:{door[1]}:transport"
    directory = home / f"postfix-{setup.name.lower()}"
    return postfix_with_authorities(box, directory, f"{net}.{resolver}", parameters)


def operators_map(box: Box, path: Path) -> str:
    """The demands of the operator, which the lab's configuration has as rules, as a map for smtp_tls_policy_maps."""
    sites = box.world.sites
    path.write_text(
        f"{sites[SiteProtection.REQUIRE_TLS].domain} encrypt\n"
        f"{sites[SiteProtection.VERIFY].domain} verify\n"
        f"{sites[SiteProtection.OWN_CA].domain} secure tafile={box.private_authority_file}\n"
    )
    return f"texthash:{path}"


@contextmanager
def postfix_with_authorities(
    box: Box, directory: Path, resolver: str, parameters: Mapping[str, str]
) -> Iterator[Postfix]:
    """A Postfix whose smtp(8), in its chroot, finds the authorities of single domains (`tafile`) at the usual paths."""
    place = Place.free("127.0.0.1")
    with companion_sender(directory, place, resolver=resolver, parameters=parameters) as postfix:
        for path in (box.authority_file, box.private_authority_file):
            inside = directory / "queue" / path.relative_to("/")
            inside.parent.mkdir(parents=True, exist_ok=True)
            inside.write_bytes(path.read_bytes())
            inside.chmod(0o644)
        yield postfix


@contextmanager
def plain_forwarder(
    address: str, upstream: str, spoil: Callable[[bytes], bytes] = lambda reply: reply
) -> Iterator[None]:
    """A resolver that passes all on and validates nothing; it never sets AD. `spoil` changes what it passes on."""
    host, _, port = upstream.rpartition(":")
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as front:
        front.bind((address, 53))
        front.setblocking(False)

        async def forward(wire: bytes, peer: tuple[str, int]) -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as back:
                back.setblocking(False)
                back.connect((host, int(port)))
                await loop.sock_sendall(back, wire)
                async with asyncio.timeout(STATUS_SECONDS):
                    reply = bytearray(spoil(await loop.sock_recv(back, 65_535)))
                reply[3] &= 0xDF  # AD
                front.sendto(reply, peer)

        tasks = set[asyncio.Task[None]]()

        def receive() -> None:
            wire, peer = front.recvfrom(65_535)
            task = asyncio.create_task(forward(wire, peer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        loop.add_reader(front.fileno(), receive)
        try:
            yield
        finally:
            loop.remove_reader(front.fileno())
            for task in tasks:
                task.cancel()
