"""A box: one world and at most one attack, running."""

import asyncio
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import dns.message

from letterlock.lab.arsenal import ARSENAL, Battlefield, Front, MakeFront
from letterlock.lab.dns_server import Answerer, serving
from letterlock.lab.implicit_attackers import ImplicitMailServer, NoAnswer, unanswered
from letterlock.lab.issuing import Credential
from letterlock.lab.loopback import Berths, reserved
from letterlock.lab.mail_server import DeliveredMail, MailServer
from letterlock.lab.policy_server import PolicyServer
from letterlock.lab.raw_smtp import Tell, Wire, listening, say_nothing
from letterlock.lab.scenarios import Attack, SiteProtection
from letterlock.lab.transcript import Transcript
from letterlock.lab.world import (
    ATTACKER_BERTH,
    ATTACKER_HOST,
    BERTHS,
    DNS_BERTH,
    LURE_BERTH,
    POLICY_BERTH,
    Site,
    World,
    make_world,
    policy,
)

Talk = Callable[[Wire], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Box:
    """What runs: the honest servers and attackers by the protection of their domain, and how to reach it all.

    Everybody is honest until `peace` is cleared: so that the server under test can have seen MTA-STS policies before.
    """

    attack: Attack
    world: World
    berths: Berths
    directory: Path  # temporary; removed when the box ends
    resolver: str  # ADDRESS:PORT
    anchor_file: Path
    authority_file: Path
    private_authority_file: Path
    honest: dict[SiteProtection, MailServer]
    on_path: dict[SiteProtection, tuple[Front, ...]]
    attacker_server: MailServer
    peace: asyncio.Event

    @property
    def subject_address(self) -> str:
        """An address of the box's network for the server under test."""
        return self.berths.address(BERTHS)

    def delivered(self, protection: SiteProtection, secret: bytes) -> bool:
        """Whether the honest server of a domain has the secret."""
        return self.honest[protection].holds(secret)

    def stolen(self, protection: SiteProtection, secret: bytes) -> bool:
        """Whether an attacker of a domain has the secret in readable form."""
        return self.attacker_server.holds(secret) or any(each.holds(secret) for each in self._attackers(protection))

    def seen_encrypted(self, protection: SiteProtection, secret: bytes) -> bool | None:
        """Whether the first server that took the message got it through TLS; None if none did."""
        for arrival in self._arrivals(protection):
            if secret in arrival.content:
                return arrival.encrypted
        return None

    def _attackers(self, protection: SiteProtection) -> list[Front]:
        """Who answers in a host's place."""
        return [each for each in self.on_path.get(protection, ()) if not _is_honest(each, self.honest[protection])]

    def _arrivals(self, protection: SiteProtection) -> list[DeliveredMail]:
        hijackers = [each for each in self._attackers(protection) if isinstance(each, MailServer)]
        servers = (self.attacker_server, *hijackers, self.honest[protection])
        return [arrival for server in servers for arrival in server.mailbox]


def _is_honest(front: Front, honest: MailServer) -> bool:
    """Whether it is the honest server itself, with another certificate: it has the same mailbox."""
    return isinstance(front, MailServer) and front.mailbox is honest.mailbox


@asynccontextmanager
async def running_box(
    attack: Attack, tell: Tell = say_nothing, *, port: int = 0, transcript: Transcript | None = None
) -> AsyncIterator[Box]:
    """A box from start to end; `tell` hears what its servers and attackers do. Raises NoFreeAddresses.

    `port`: the one port of everything in it; a free one if none is named. `transcript` gets what the attacker sees.
    """
    arms = ARSENAL[attack]
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="letterlock-lab-")))
        berths = stack.enter_context(reserved(BERTHS, port=port))
        world = make_world(
            berths, now=time.time(), unusable_tlsa=arms.unusable_tlsa, implicit=arms.implicit is not None
        )
        field = Battlefield(world, berths, directory, tell if transcript is None else transcript.note)
        box = await _open(stack, attack, field, transcript)
        yield box


async def _open(stack: AsyncExitStack, attack: Attack, field: Battlefield, transcript: Transcript | None) -> Box:
    """Start everybody."""
    arms, world, berths, directory = ARSENAL[attack], field.world, field.berths, field.directory
    peace = asyncio.Event()
    house = _House(stack, berths, peace, transcript)
    honest = {
        site.protection: MailServer(site.host, site.credential.server_context(directory), field.tell)
        for site in world.sites.values()
    }
    attacker_server = MailServer(ATTACKER_HOST, world.attacker_credential.server_context(directory), field.tell)
    lure = PolicyServer(
        world.lure_credential.server_context(directory), lambda _host: policy(ATTACKER_HOST), field.tell
    )
    true_policy = PolicyServer(world.policy_credential.server_context(directory), world.true_policy, field.tell)
    await house.open(ATTACKER_BERTH, ATTACKER_HOST, attacker_server.talk, attackers=True)
    await house.open(LURE_BERTH, world.lure_host, lure.talk, attackers=True)
    await house.open(
        POLICY_BERTH,
        "policy host",
        true_policy.talk,
        arms.policy(field) if arms.policy else None,
        attackers=arms.policy is not None,
    )
    on_path: dict[SiteProtection, tuple[Front, ...]] = {}
    for protection, site in world.sites.items():
        first = arms.front(field, site, honest[protection]) if arms.front else None
        second = arms.second(field, site, honest[protection]) if arms.second and site.second_host else first
        on_path[protection] = tuple({id(each): each for each in (first, second) if each is not None}.values())
        talk = honest[protection].talk
        await house.open(site.backstage_berth, site.host, talk, hidden=True)
        for berth, host, front in ((site.berth, site.host, first), (site.second_berth, site.second_host, second)):
            if host:
                attackers = front is not None and not _is_honest(front, honest[protection])
                await house.open(berth, host, talk, front.talk if front else None, attackers=attackers)
        on_path[protection] += await house.open_implicit(field, site, honest[protection], arms.implicit)
    answer = _watched(world, arms.dns(field) if arms.dns else world.names.answer, peace, transcript)
    port = await stack.enter_async_context(serving(berths.address(DNS_BERTH), answer))
    return Box(
        attack=attack,
        world=world,
        berths=berths,
        directory=directory,
        resolver=f"{berths.address(DNS_BERTH)}:{port}",
        anchor_file=_written(directory / "root.ds", world.names.anchor().encode()),
        authority_file=_written(directory / "ca.pem", world.public_authority.pem),
        private_authority_file=_written(directory / "private-ca.pem", world.private_authority.pem),
        honest=honest,
        on_path=on_path,
        attacker_server=attacker_server,
        peace=peace,
    )


@dataclass(frozen=True, slots=True)
class _House:
    """Opens servers at berths."""

    stack: AsyncExitStack
    berths: Berths
    peace: asyncio.Event
    transcript: Transcript | None

    async def open(
        self,
        berth: int,
        name: str,
        honest: Talk,
        attacking: Talk | None = None,
        *,
        attackers: bool = False,
        hidden: bool = False,
    ) -> None:
        """A server; once the peace is over, the one in its place, who may be one of the `attackers`.

        `hidden`: it is the attacker's own side of a relay.
        """

        async def talk(wire: Wire) -> None:
            await (honest if attacking is None or self.peace.is_set() else attacking)(wire)

        await self._listen(self.berths.sockets[berth], name, talk, attackers=attackers, hidden=hidden)

    async def open_implicit(
        self, field: Battlefield, site: Site, honest: MailServer, there: MakeFront | NoAnswer | None
    ) -> tuple[Front, ...]:
        """The port for implicit TLS at the MX hosts of a domain; who talks there."""
        bound = self.berths.implicit_sockets
        if there is NoAnswer.FILTERED:
            for berth in (site.berth, site.second_berth):
                self.stack.enter_context(unanswered(bound[berth]))
        if there is None or isinstance(there, NoAnswer):
            return ()
        behind = ImplicitMailServer(honest.host, honest.context, honest.tell, honest.mailbox)
        await self._listen(bound[site.backstage_berth], site.host, behind.talk, hidden=True)
        front = there(field, site, honest)
        for berth, host in ((site.berth, site.host), (site.second_berth, site.second_host)):
            if host:
                attackers = not _is_honest(front, honest)
                await self._listen(bound[berth], f"{host}, implicit TLS", front.talk, attackers=attackers)
        return (front,)

    async def _listen(
        self, bound: socket.socket, name: str, talk: Talk, *, attackers: bool = False, hidden: bool = False
    ) -> None:
        transcript = None if hidden else self.transcript
        watch = (lambda: transcript.connection(name, attackers=attackers)) if transcript else (lambda: None)
        await self.stack.enter_async_context(listening(bound, talk, watch))


def _watched(world: World, lying: Answerer, peace: asyncio.Event, transcript: Transcript | None) -> Answerer:
    """The answers of peace, and of the attack."""

    def answer(query: dns.message.Message) -> dns.message.Message | None:
        given = world.names.answer(query) if peace.is_set() else lying(query)
        if transcript is not None:
            transcript.dns(query, world.names.answer(query), given)
        return given

    return answer


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def write_credential(credential: Credential, directory: Path) -> tuple[Path, Path]:
    """A certificate and its key as files, for a configuration."""
    certificate, key = directory / "subject.pem", directory / "subject.key"
    key.touch(mode=0o600)
    key.write_bytes(credential.key_pem)
    return _written(certificate, credential.pem), key
