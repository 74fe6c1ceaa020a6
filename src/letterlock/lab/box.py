"""A box: one world and at most one attack, running."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import dns.name

from letterlock.lab.attackers import Impostor, Injector, OnPath, Refuser, Stripper
from letterlock.lab.dns_attackers import fail_tlsa, forge_mx, forge_sts, hide_sts, remove_tlsa
from letterlock.lab.dns_server import Answerer, serving
from letterlock.lab.loopback import Berths, reserved
from letterlock.lab.mail_server import MailServer
from letterlock.lab.policy_server import PATH, PolicyServer
from letterlock.lab.raw_smtp import Tell, Wire, listening, say_nothing
from letterlock.lab.scenarios import Attack, SiteProtection
from letterlock.lab.world import (
    ATTACKER_BERTH,
    BERTHS,
    DNS_BERTH,
    FORGED_POLICY_BERTH,
    LIMBO,
    LURE_BERTH,
    POLICY_BERTH,
    World,
    make_world,
)

_IMPOSTURES = (
    Attack.SELF_SIGNED,
    Attack.TLSA_REMOVED,
    Attack.TLSA_LOOKUP_FAILED,
    Attack.STS_HIDDEN,
    Attack.STS_HIDDEN_FIRST,
)


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
    honest: dict[SiteProtection, MailServer]
    on_path: dict[SiteProtection, OnPath]
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
        attacker = self.on_path.get(protection)
        return self.attacker_server.holds(secret) or (attacker is not None and attacker.holds(secret))

    def seen_encrypted(self, protection: SiteProtection, secret: bytes) -> bool | None:
        """Whether the first server that took the message got it through TLS; None if none did."""
        for server in (self.attacker_server, self.honest[protection]):
            for arrival in server.mailbox:
                if secret in arrival.content:
                    return arrival.encrypted
        return None


@asynccontextmanager
async def running_box(
    attack: Attack, tell: Tell = say_nothing, *, sts_with_dane: bool = False, partial_dane: bool = False
) -> AsyncIterator[Box]:
    """A box from start to end; `tell` hears what its servers and attackers do. Raises NoFreeAddresses.

    `sts_with_dane`: the domain with MTA-STS has DANE as well, which the table does not show; `partial_dane`:
    its second MX host has none.
    """
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="letterlock-lab-")))
        berths = stack.enter_context(reserved(BERTHS))
        world = make_world(berths, now=time.time(), sts_with_dane=sts_with_dane, partial_dane=partial_dane)
        honest = {
            site.protection: MailServer(site.host, site.credential.server_context(directory), tell)
            for site in world.sites.values()
        }
        on_path = _attackers_on_path(attack, world, berths, directory, tell)
        attacker_server = MailServer(world.attacker_host, world.attacker_credential.server_context(directory), tell)
        peace = asyncio.Event()
        await _listen(stack, berths, ATTACKER_BERTH, attacker_server.talk)
        for berth, server in _policy_servers(world, directory, tell).items():
            await _listen(stack, berths, berth, server.talk)
        await _listen(stack, berths, POLICY_BERTH, _talk_at_policy_host(attack, peace, world, berths, directory, tell))
        for protection, site in world.sites.items():
            await _listen(stack, berths, site.backstage_berth, honest[protection].talk)
            front = on_path.get(protection, honest[protection])
            await _listen(stack, berths, site.berth, _talk_of(peace, honest[protection], front))
        lying = _answerer(attack, world, berths)
        port = await stack.enter_async_context(
            serving(
                berths.address(DNS_BERTH),
                lambda query: world.names.answer(query) if peace.is_set() else lying(query),
            )
        )
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
            peace=peace,
        )


def _talk_of(peace: asyncio.Event, honest: MailServer, front: MailServer | OnPath) -> Callable[[Wire], Awaitable[None]]:
    """The server at the public address of a host: the honest one as long as nobody attacks."""

    async def talk(wire: Wire) -> None:
        await (honest if peace.is_set() else front).talk(wire)

    return talk


def _policy_servers(world: World, directory: Path, tell: Tell) -> dict[int, PolicyServer]:
    """The attacker's: one forges the policy host, one has the attacker's name. Both name the attacker's MX."""
    policy = world.policy(world.attacker_host)
    return {
        FORGED_POLICY_BERTH: PolicyServer(world.forged_policy_credential.server_context(directory), policy, tell),
        LURE_BERTH: PolicyServer(world.lure_credential.server_context(directory), policy, tell),
    }


def _talk_at_policy_host(
    attack: Attack, peace: asyncio.Event, world: World, berths: Berths, directory: Path, tell: Tell
) -> Callable[[Wire], Awaitable[None]]:
    """The honest policy host; outside peace it redirects, where that is the attack."""
    honest = PolicyServer(
        world.policy_credential.server_context(directory), world.policy(world.sites[SiteProtection.MTA_STS].host), tell
    )
    if attack is not Attack.STS_REDIRECTED:
        return honest.talk
    redirecting = replace(honest, location=f"https://{world.lure_host}:{berths.port}{PATH}")

    async def talk(wire: Wire) -> None:
        await (honest if peace.is_set() else redirecting).talk(wire)

    return talk


async def _listen(stack: AsyncExitStack, berths: Berths, berth: int, talk: Callable[[Wire], Awaitable[None]]) -> None:
    await stack.enter_async_context(listening(berths.sockets[berth], talk))


def _attackers_on_path(
    attack: Attack, world: World, berths: Berths, directory: Path, tell: Tell
) -> dict[SiteProtection, OnPath]:
    """An attacker at the address of every MX host, for the attacks that need one there."""
    found: dict[SiteProtection, OnPath] = {}
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
        elif attack is Attack.BOUGHT_CERTIFICATE:
            context = world.bought_credentials[protection].server_context(directory)
            found[protection] = Impostor(address, port, context, tell)
    return found


def _answerer(attack: Attack, world: World, berths: Berths) -> Answerer:
    honest = world.names.answer
    if attack in (Attack.MX_FORGED, Attack.STS_FORGED, Attack.STS_REDIRECTED):
        forging = forge_mx(honest, host=world.attacker_host, spared=frozenset([dns.name.from_text(LIMBO)]))
        if attack is Attack.MX_FORGED:
            return forging
        policy_berth = FORGED_POLICY_BERTH if attack is Attack.STS_FORGED else POLICY_BERTH
        return forge_sts(forging, host=world.policy_host, address=berths.address(policy_berth))
    if attack in (Attack.STS_HIDDEN, Attack.STS_HIDDEN_FIRST):
        return hide_sts(honest, host=world.policy_host)
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
