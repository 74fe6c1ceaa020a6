"""A box: one world and at most one attack, running."""

import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import dns.name

from letterlock.lab.addresses import Berths, reserved
from letterlock.lab.attackers import Impostor, Injector, OnPath, Refuser, Stripper
from letterlock.lab.dns_attackers import fail_tlsa, forge_mx, remove_tlsa
from letterlock.lab.dns_server import Answerer, serving
from letterlock.lab.mail_server import MailServer
from letterlock.lab.scenarios import Attack, Protection
from letterlock.lab.wire import Tell, Wire, listening, say_nothing
from letterlock.lab.world import ATTACKER_BERTH, BERTHS, DNS_BERTH, LIMBO, World, make_world

_IMPOSTURES = (Attack.SELF_SIGNED, Attack.TLSA_REMOVED, Attack.TLSA_LOOKUP_FAILED)


@dataclass(frozen=True, slots=True)
class Box:
    """What runs: the honest servers and attackers by the protection of their domain, and how to reach it all."""

    attack: Attack
    world: World
    berths: Berths
    directory: Path  # temporary; removed when the box ends
    resolver: str  # ADDRESS:PORT
    anchor_file: Path
    authority_file: Path
    honest: dict[Protection, MailServer]
    on_path: dict[Protection, OnPath]
    attacker_server: MailServer

    @property
    def subject_address(self) -> str:
        """An address of the box's network for the server under test."""
        return self.berths.address(BERTHS)

    def delivered(self, protection: Protection, secret: bytes) -> bool:
        """Whether the honest server of a domain has the secret."""
        return self.honest[protection].holds(secret)

    def stolen(self, protection: Protection, secret: bytes) -> bool:
        """Whether an attacker of a domain has the secret in a form that he can read."""
        attacker = self.on_path.get(protection)
        return self.attacker_server.holds(secret) or (attacker is not None and attacker.holds(secret))

    def seen_encrypted(self, protection: Protection, secret: bytes) -> bool | None:
        """Whether the message came through TLS to whoever was first to take it; None when nobody did."""
        for server in (self.attacker_server, self.honest[protection]):
            for arrival in server.mailbox:
                if secret in arrival.content:
                    return arrival.encrypted
        return None


@asynccontextmanager
async def running_box(attack: Attack, tell: Tell = say_nothing) -> AsyncIterator[Box]:
    """A box from start to end; `tell` hears what its servers and attackers do. Raises NoFreeAddresses."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="letterlock-lab-")))
        berths = stack.enter_context(reserved(BERTHS))
        world = make_world(berths, now=time.time())
        honest = {
            site.protection: MailServer(site.host, site.credential.server_context(directory), tell)
            for site in world.sites.values()
        }
        on_path = _attackers_on_path(attack, world, berths, directory, tell)
        attacker_server = MailServer(world.attacker_host, world.attacker_credential.server_context(directory), tell)
        await _listen(stack, berths, ATTACKER_BERTH, attacker_server.talk)
        for protection, site in world.sites.items():
            await _listen(stack, berths, site.backstage_berth, honest[protection].talk)
            front = on_path.get(protection, honest[protection])
            await _listen(stack, berths, site.berth, front.talk)
        answer = _answerer(attack, world)
        port = await stack.enter_async_context(serving(berths.address(DNS_BERTH), answer))
        anchor_file, authority_file = _write_trust(world, directory)
        yield Box(
            attack=attack,
            world=world,
            berths=berths,
            directory=directory,
            resolver=f"{berths.address(DNS_BERTH)}:{port}",
            anchor_file=anchor_file,
            authority_file=authority_file,
            honest=honest,
            on_path=on_path,
            attacker_server=attacker_server,
        )


async def _listen(stack: AsyncExitStack, berths: Berths, berth: int, talk: Callable[[Wire], Awaitable[None]]) -> None:
    await stack.enter_async_context(listening(berths.sockets[berth], talk))


def _attackers_on_path(
    attack: Attack, world: World, berths: Berths, directory: Path, tell: Tell
) -> dict[Protection, OnPath]:
    """An attacker at the address of every MX host, for the attacks that need one there."""
    found: dict[Protection, OnPath] = {}
    for protection, site in world.sites.items():
        address, port = berths.address(site.backstage_berth), berths.port
        if attack is Attack.STARTTLS_STRIPPED:
            found[protection] = Stripper(address, port, tell)
        elif attack is Attack.STARTTLS_REFUSED:
            found[protection] = Refuser(address, port, tell)
        elif attack is Attack.PLAINTEXT_INJECTED:
            found[protection] = Injector(address, port, tell)
        elif attack in _IMPOSTURES:
            context = world.impostor_credentials[protection].server_context(directory)
            found[protection] = Impostor(address, port, context, tell)
    return found


def _answerer(attack: Attack, world: World) -> Answerer:
    honest = world.names.answer
    if attack is Attack.MX_FORGED:
        return forge_mx(honest, host=world.attacker_host, spared=frozenset([dns.name.from_text(LIMBO)]))
    if attack is Attack.TLSA_REMOVED:
        return remove_tlsa(honest)
    if attack is Attack.TLSA_LOOKUP_FAILED:
        return fail_tlsa(honest)
    return honest


def _write_trust(world: World, directory: Path) -> tuple[Path, Path]:
    anchor, authority = directory / "root.ds", directory / "ca.pem"
    anchor.write_text(world.names.anchor())
    authority.write_bytes(world.public_authority.pem)
    return anchor, authority
