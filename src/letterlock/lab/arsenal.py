"""What each attack is made of: who answers at the MX hosts, at the policy host, and between the server and its DNS.

To add an attack: a line in `ARSENAL`, and what theory says of it in `theory.toml`.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import dns.message
import dns.name
from dns.rdatatype import RdataType

from letterlock.lab import attackers, cutters
from letterlock.lab import dns_attackers as lies
from letterlock.lab.dns_server import Answerer
from letterlock.lab.implicit_attackers import (
    ImplicitCutter,
    ImplicitMailServer,
    NoAnswer,
    SilentPort,
    SubmissionServer,
)
from letterlock.lab.issuing import Credential, expired_twin, issue
from letterlock.lab.loopback import Berths
from letterlock.lab.mail_server import MailServer
from letterlock.lab.policy_server import PATH, PolicyServer
from letterlock.lab.raw_smtp import Tell, Wire
from letterlock.lab.scenarios import Attack
from letterlock.lab.world import (
    ATTACKER_BERTH,
    ATTACKER_HOST,
    ROUTED,
    SIGNED,
    SRV_LABELS,
    Site,
    World,
    policy,
)

_NEW_ID = "20261124"  # chosen: any other id than the one that is true


class Front(Protocol):
    """Who answers at an address."""

    async def talk(self, wire: Wire) -> None:
        """One connection."""

    def holds(self, secret: bytes) -> bool:
        """Whether the secret arrived here in readable form."""


@dataclass(frozen=True, slots=True)
class Battlefield:
    """Where an attack takes place."""

    world: World
    berths: Berths
    directory: Path
    tell: Tell

    def honest_address(self, site: Site) -> tuple[str, int]:
        """Where the honest server of a site can be reached behind the attacker."""
        return self.berths.address(site.backstage_berth), self.berths.port


MakeFront = Callable[[Battlefield, Site, MailServer], Front]
MakePolicyFront = Callable[[Battlefield], Callable[[Wire], Awaitable[None]]]
MakeLies = Callable[[Battlefield], Answerer]


@dataclass(frozen=True, slots=True)
class Arms:
    """The parts of an attack; None: everybody is honest there.

    `second`: who answers at the second MX host of the domain that has one; None: as at the first. `unusable_tlsa`: the
    domains themselves publish such records. `implicit`: who answers at the port for implicit TLS, which the domains
    announce then; None: they do not. `twice`: the message is sent once before the one that counts.
    `towards_us`: who is on the path between a client and the server under test as well, at an address and port.
    """

    front: MakeFront | None = None
    second: MakeFront | None = None
    implicit: MakeFront | NoAnswer | None = None
    policy: MakePolicyFront | None = None
    dns: MakeLies | None = None
    unusable_tlsa: bool = False
    twice: bool = False
    towards_us: Callable[[str, int, Tell], Front] | None = None


# --- at the MX hosts -------------------------------------------------------------------------------------------------


def _on_path(kind: Callable[[str, int, Tell], Front]) -> MakeFront:
    return lambda field, site, _honest: kind(*field.honest_address(site), field.tell)


def _impostor(credential: Callable[[World, Site], Credential], *, old: bool = False) -> MakeFront:
    """Somebody on the path who terminates TLS with a certificate."""

    def make(field: Battlefield, site: Site, _honest: MailServer) -> Front:
        shown = credential(field.world, site)
        context = shown.old_server_context(field.directory) if old else shown.server_context(field.directory)
        return attackers.Impostor(*field.honest_address(site), context, field.tell)

    return make


def _self_made(world: World, site: Site) -> Credential:
    return world.impostor_credentials[site.protection]


def _bought(world: World, site: Site) -> Credential:
    return issue(world.public_authority, *site.hosts)


def _bought_long_ago(world: World, site: Site) -> Credential:
    return issue(world.public_authority, *site.hosts, expired=True)


def _for_another_name(world: World, _site: Site) -> Credential:
    return world.attacker_credential


def _hijacker(field: Battlefield, site: Site, _honest: MailServer) -> Front:
    """Not on the path but in place of the host: there is no honest server behind it."""
    return MailServer(site.host, _bought(field.world, site).server_context(field.directory), field.tell)


def _genuine_but_expired(field: Battlefield, site: Site, honest: MailServer) -> Front:
    """The honest server itself, with the same mailbox."""
    shown = expired_twin(site.credential, field.world.authority_of(site.protection), *site.hosts)
    return replace(honest, context=shown.server_context(field.directory))


def _implicit(kind: type[MailServer], credential: Callable[[World, Site], Credential] | None = None) -> MakeFront:
    """A server at the port for implicit TLS: the honest one, with its mailbox, or one with another certificate."""

    def make(field: Battlefield, site: Site, honest: MailServer) -> Front:
        if credential is None:
            return kind(honest.host, honest.context, honest.tell, honest.mailbox)
        return kind(site.host, credential(field.world, site).server_context(field.directory), field.tell)

    return make


def _submission(field: Battlefield, site: Site, honest: MailServer) -> Front:
    """The port that is announced wants a login; the one that the operator's route names does not."""
    kind = ImplicitMailServer if site.protection in ROUTED else SubmissionServer
    return _implicit(kind)(field, site, honest)


def _implicit_cutter(field: Battlefield, site: Site, _honest: MailServer) -> Front:
    address, _ = field.honest_address(site)
    return ImplicitCutter(address, field.berths.implicit_port, field.tell)


def _silent(field: Battlefield, _site: Site, _honest: MailServer) -> Front:
    return SilentPort(field.tell)


def _cut(field: Battlefield, _site: Site, _honest: MailServer) -> Front:
    return cutters.ConnectionCutter(field.tell)


# --- at the policy host ----------------------------------------------------------------------------------------------


def _policy_cut(field: Battlefield) -> Callable[[Wire], Awaitable[None]]:
    return cutters.ConnectionCutter(field.tell).talk


def _serving(credential: Callable[[World], Credential], text: bytes) -> MakePolicyFront:
    """A policy host of the attacker's, which serves the same text to everybody."""
    return lambda field: (
        PolicyServer(credential(field.world).server_context(field.directory), lambda _host: text, field.tell).talk
    )


def _self_made_policy_host(world: World) -> Credential:
    return world.forged_policy_credential


def _policy_host_of_another_name(world: World) -> Credential:
    return world.lure_credential


def _bought_policy_host(world: World) -> Credential:
    return issue(world.public_authority, *world.policy_hosts)


def _redirecting(field: Battlefield) -> Callable[[Wire], Awaitable[None]]:
    context = field.world.policy_credential.server_context(field.directory)
    location = f"https://{field.world.lure_host}:{field.berths.port}{PATH}"
    return PolicyServer(context, field.world.true_policy, field.tell, location).talk


# --- in the DNS ------------------------------------------------------------------------------------------------------


def _forging(forged: Callable[[Battlefield, Site], Mapping[lies.Question, str]]) -> MakeLies:
    """Forge records of every domain."""

    def make(field: Battlefield) -> Answerer:
        every = {key: rdata for site in field.world.sites.values() for key, rdata in forged(field, site).items()}
        return lies.forge(field.world.names.answer, every)

    return make


def _mx_to_attacker(field: Battlefield, site: Site) -> Mapping[lies.Question, str]:
    return {(dns.name.from_text(site.domain), RdataType.MX): f"10 {field.world.attacker_host}."}


def _mx_to_lookalike(_field: Battlefield, site: Site) -> Mapping[lies.Question, str]:
    return {(dns.name.from_text(site.domain), RdataType.MX): f"10 {site.lookalike}."}


def _mx_to_abandoned(field: Battlefield, site: Site) -> Mapping[lies.Question, str]:
    domain, host = dns.name.from_text(site.domain), dns.name.from_text(site.abandoned)
    address = field.berths.address(ATTACKER_BERTH)
    return {(domain, RdataType.MX): f"10 {site.abandoned}.", (host, RdataType.A): address}


def _address_of_attacker(field: Battlefield, site: Site) -> Mapping[lies.Question, str]:
    address = field.berths.address(ATTACKER_BERTH)
    return {(dns.name.from_text(host), RdataType.A): address for host in site.hosts}


def _own_address(field: Battlefield, site: Site) -> Mapping[lies.Question, str]:
    """An address of the domain itself, which counts where there is no MX record (RFC 5321 section 5.1)."""
    return {(dns.name.from_text(site.domain), RdataType.A): field.berths.address(ATTACKER_BERTH)}


def _new_id(_field: Battlefield, site: Site) -> Mapping[lies.Question, str]:
    return {(dns.name.from_text(f"_mta-sts.{site.domain}"), RdataType.TXT): f'"v=STSv1; id={_NEW_ID};"'}


def _new_id_and_mx(field: Battlefield, site: Site) -> Mapping[lies.Question, str]:
    return {**_mx_to_attacker(field, site), **_new_id(field, site)}


def _tlsa_of_attacker(field: Battlefield, site: Site) -> Mapping[lies.Question, str]:
    rdata = field.world.impostor_credentials[site.protection].tlsa_end_entity()
    owners = (dns.name.from_text(f"_{field.berths.port}._tcp.{host}") for host in site.hosts)
    return {(owner, RdataType.TLSA): rdata for owner in owners}


def _srv_of_implicit(field: Battlefield, site: Site) -> Mapping[lies.Question, str]:
    owner = dns.name.from_text(f"{SRV_LABELS}.{site.domain}")
    return {(owner, RdataType.SRV): f"0 1 {field.berths.implicit_port} {site.host}."}


def _implicit_tlsa_of_attacker(field: Battlefield, site: Site) -> Mapping[lies.Question, str]:
    rdata = field.world.impostor_credentials[site.protection].tlsa_end_entity()
    owners = (dns.name.from_text(f"_{field.berths.implicit_port}._tcp.{host}") for host in site.hosts)
    return {(owner, RdataType.TLSA): rdata for owner in owners}


def _implicit_hidden(field: Battlefield) -> Answerer:
    sites = field.world.sites.values()
    srv = (f"{SRV_LABELS}.{site.domain}" for site in sites)
    tlsa = (f"_{field.berths.implicit_port}._tcp.{host}" for site in sites for host in site.hosts)
    return lies.deny(field.world.names.answer, lies.about(*srv, *tlsa))


def _without_mx(lie: Callable[[lies.Honest, Callable[[lies.Question], bool]], Answerer]) -> MakeLies:
    """The MX records cannot be had, and the domain has an address of the attacker's."""

    def make(field: Battlefield) -> Answerer:
        addresses = _forging(_own_address)(field)
        no_mx = lie(field.world.names.answer, _any_mx(field.world))

        def answer(query: dns.message.Message) -> dns.message.Message | None:
            return (no_mx if query.question[0].rdtype == RdataType.MX else addresses)(query)

        return answer

    return make


def _any_mx(world: World) -> Callable[[lies.Question], bool]:
    domains = {dns.name.from_text(site.domain) for site in world.sites.values()}
    return lambda asked: asked[1] == RdataType.MX and asked[0] in domains


def _domain_aliased(field: Battlefield) -> Answerer:
    target = field.world.attacker_host.partition(".")[2]
    return lies.alias(field.world.names.answer, {site.domain: target for site in field.world.sites.values()})


def _host_aliased(field: Battlefield) -> Answerer:
    hosts = [host for site in field.world.sites.values() for host in site.hosts]
    return lies.alias(field.world.names.answer, dict.fromkeys(hosts, field.world.attacker_host))


def _tlsa_replayed(field: Battlefield) -> Answerer:
    """Of those hosts only that have such records: nobody has signed any for the others."""
    world = field.world
    genuine = {
        owner: rdata
        for site in world.sites.values()
        for (owner, _), rdata in _tlsa_of_attacker(field, site).items()
        if world.names.zone_of(owner, RdataType.TLSA).exists(owner)
    }
    return lies.replay_tlsa(world.names, genuine, time.time())


def _plain(lie: Callable[[lies.Honest], Answerer]) -> MakeLies:
    return lambda field: lie(field.world.names.answer)


def _unsigned(field: Battlefield) -> Answerer:
    domains = [site.domain for site in field.world.sites.values() if site.protection in SIGNED]
    return lies.remove_delegation_signers(field.world.names.answer, domains)


def _sts_hidden(field: Battlefield) -> Answerer:
    hosts = field.world.policy_hosts
    chosen = lies.about(*hosts, *(f"_{host}" for host in hosts))
    return lies.deny(field.world.names.answer, chosen, nxdomain=True)


def _sts_record_failing(field: Battlefield) -> Answerer:
    return lies.fail(field.world.names.answer, lies.about(*(f"_{host}" for host in field.world.policy_hosts)))


_SELF_SIGNED = _impostor(_self_made)
_IMPLICIT_SELF_SIGNED = _implicit(ImplicitMailServer, _self_made)
_IMPLICIT_HONEST = _implicit(ImplicitMailServer)
_OTHER_POLICY = policy(ATTACKER_HOST)
_NO_POLICY = policy(mode="none")
_WEAKER_POLICY = policy("*.example", "*.test", mode="testing", max_age=1)

ARSENAL: Mapping[Attack, Arms] = MappingProxyType(
    {
        Attack.MX_FORGED: Arms(dns=_forging(_mx_to_attacker)),
        Attack.MX_LOOKALIKE: Arms(dns=_forging(_mx_to_lookalike)),
        Attack.MX_REMOVED: Arms(dns=_without_mx(lies.deny)),
        Attack.MX_LOOKUP_FAILED: Arms(dns=_without_mx(lies.fail)),
        Attack.ALIAS_FORGED: Arms(dns=_domain_aliased),
        Attack.ADDRESS_FORGED: Arms(dns=_forging(_address_of_attacker)),
        Attack.CNAME_FORGED: Arms(dns=_host_aliased),
        Attack.TLSA_REMOVED: Arms(_SELF_SIGNED, dns=_plain(lies.remove_tlsa)),
        Attack.NSEC_REPLAYED: Arms(_SELF_SIGNED, dns=_plain(lies.replay_denial)),
        Attack.TLSA_FORGED: Arms(_SELF_SIGNED, dns=_forging(_tlsa_of_attacker)),
        Attack.TLSA_EXPIRED: Arms(_SELF_SIGNED, dns=_tlsa_replayed),
        Attack.TLSA_LOOKUP_FAILED: Arms(_SELF_SIGNED, dns=_plain(lies.fail_tlsa)),
        Attack.TLSA_TIMEOUT: Arms(_SELF_SIGNED, dns=_plain(partial(lies.drop, chosen=lies.of_type(RdataType.TLSA)))),
        Attack.RRSIG_REMOVED: Arms(_SELF_SIGNED, dns=_plain(lies.remove_signatures)),
        Attack.DS_REMOVED: Arms(_SELF_SIGNED, dns=_unsigned),
        Attack.TLSA_UNUSABLE: Arms(_SELF_SIGNED, unusable_tlsa=True),
        Attack.TLSA_UNUSABLE_STRIPPED: Arms(_on_path(attackers.Stripper), unusable_tlsa=True),
        Attack.CONNECTION_CUT: Arms(_cut),
        Attack.EHLO_REFUSED: Arms(_on_path(attackers.HelloRefuser)),
        Attack.STARTTLS_STRIPPED: Arms(_on_path(attackers.Stripper)),
        Attack.STARTTLS_MASKED: Arms(_on_path(attackers.Masker)),
        Attack.STARTTLS_REFUSED: Arms(_on_path(attackers.Refuser)),
        Attack.STARTTLS_REJECTED: Arms(_on_path(partial(attackers.Refuser, reply=attackers.Refuser.NEVER))),
        Attack.CUT_BEFORE_HANDSHAKE: Arms(_on_path(cutters.CutBeforeHandshake)),
        Attack.PLAINTEXT_INJECTED: Arms(_on_path(attackers.Injector)),
        Attack.COMMANDS_INJECTED: Arms(_on_path(attackers.CommandInjector), towards_us=attackers.CommandInjector),
        Attack.CUT_IN_HANDSHAKE: Arms(_on_path(cutters.CutInHandshake)),
        Attack.HANDSHAKE_REFUSED: Arms(_on_path(cutters.HandshakeRefuser)),
        Attack.OLD_TLS: Arms(_impostor(_self_made, old=True)),
        Attack.CUT_AFTER_HANDSHAKE: Arms(_on_path(cutters.CutAfterHandshake)),
        Attack.SELF_SIGNED: Arms(_SELF_SIGNED),
        Attack.EXPIRED: Arms(_impostor(_bought_long_ago)),
        Attack.OTHER_NAME: Arms(_impostor(_for_another_name)),
        Attack.SESSION_RESUMED: Arms(_SELF_SIGNED, twice=True),
        Attack.BOUGHT_CERTIFICATE: Arms(_impostor(_bought)),
        Attack.EXPIRED_GENUINE: Arms(_genuine_but_expired),
        Attack.STS_HIDDEN: Arms(_SELF_SIGNED, dns=_sts_hidden),
        Attack.STS_TXT_BLOCKED: Arms(_SELF_SIGNED, dns=_sts_record_failing),
        Attack.STS_HTTPS_BLOCKED: Arms(_SELF_SIGNED, policy=_policy_cut),
        Attack.STS_NEW_ID: Arms(_SELF_SIGNED, policy=_policy_cut, dns=_forging(_new_id)),
        Attack.STS_FORGED: Arms(policy=_serving(_self_made_policy_host, _OTHER_POLICY), dns=_forging(_new_id_and_mx)),
        Attack.STS_WRONG_CERTIFICATE: Arms(
            policy=_serving(_policy_host_of_another_name, _OTHER_POLICY), dns=_forging(_new_id_and_mx)
        ),
        Attack.STS_REDIRECTED: Arms(policy=_redirecting, dns=_forging(_new_id_and_mx)),
        Attack.STS_DOWNGRADED: Arms(
            _SELF_SIGNED, policy=_serving(_self_made_policy_host, _WEAKER_POLICY), dns=_forging(_new_id)
        ),
        Attack.STS_MODE_NONE: Arms(
            _SELF_SIGNED, policy=_serving(_bought_policy_host, _NO_POLICY), dns=_forging(_new_id)
        ),
        Attack.STS_MX_MISMATCH: Arms(dns=_forging(_mx_to_abandoned)),
        Attack.STS_OTHER_POLICY: Arms(
            policy=_serving(_bought_policy_host, _OTHER_POLICY), dns=_forging(_new_id_and_mx)
        ),
        Attack.IMPLICIT_FILTERED: Arms(implicit=NoAnswer.FILTERED),
        Attack.IMPLICIT_CLOSED: Arms(implicit=NoAnswer.CLOSED),
        Attack.IMPLICIT_SILENT: Arms(implicit=_silent),
        Attack.IMPLICIT_CLEAR: Arms(implicit=_implicit(MailServer, _self_made)),
        Attack.IMPLICIT_CUT: Arms(implicit=_implicit_cutter),
        Attack.IMPLICIT_SELF_SIGNED: Arms(implicit=_IMPLICIT_SELF_SIGNED),
        Attack.IMPLICIT_HIJACKED: Arms(implicit=_implicit(ImplicitMailServer, _for_another_name)),
        Attack.IMPLICIT_BOUGHT: Arms(_impostor(_bought), implicit=_implicit(ImplicitMailServer, _bought)),
        Attack.IMPLICIT_LOGIN: Arms(implicit=_submission),
        Attack.IMPLICIT_SRV_FORGED: Arms(implicit=_IMPLICIT_SELF_SIGNED, dns=_forging(_srv_of_implicit)),
        Attack.IMPLICIT_TLSA_FORGED: Arms(implicit=_IMPLICIT_SELF_SIGNED, dns=_forging(_implicit_tlsa_of_attacker)),
        Attack.IMPLICIT_HIDDEN: Arms(implicit=_IMPLICIT_HONEST, dns=_implicit_hidden),
        Attack.IMPLICIT_LEFT_OPEN: Arms(_on_path(attackers.Stripper), implicit=_IMPLICIT_HONEST),
        Attack.IMPLICIT_BLOCKED_TOO: Arms(_on_path(attackers.Stripper), implicit=_cut),
        Attack.DANE_HOST_CUT: Arms(_cut, second=_SELF_SIGNED),
        Attack.ADDRESS_HIJACKED: Arms(_hijacker, policy=_serving(_bought_policy_host, _NO_POLICY)),
        Attack.NONE: Arms(),
    }
)
