"""The world of a box: who is there, under which name, at which address, and the signed DNS that says so."""

from collections.abc import Iterable
from dataclasses import dataclass

import dns.name

from letterlock.lab.authority import Validity, ZoneKey
from letterlock.lab.issuing import Credential, issue, make_authority, make_self_signed
from letterlock.lab.loopback import Berths
from letterlock.lab.namespace import NameSpace
from letterlock.lab.scenarios import SiteProtection
from letterlock.lab.zones import Denial, Zone

# Both top-level domains have a signed and an unsigned child, so that NSEC and NSEC3 both prove and deny.
DOMAINS = {
    SiteProtection.NONE: "none.test",
    SiteProtection.REQUIRE_TLS: "require-tls.example",
    SiteProtection.VERIFY: "verify.test",
    SiteProtection.OWN_CA: "own-ca.test",
    SiteProtection.STS_TESTING: "sts-testing.example",
    SiteProtection.STS_FIRST: "sts-first.test",
    SiteProtection.MTA_STS: "sts.example",
    SiteProtection.DANE_EE: "dane-ee.test",
    SiteProtection.DANE_TA: "dane-ta.example",
    SiteProtection.DANE_AND_STS: "both.test",
    SiteProtection.PARTIAL_DANE: "partial.example",
    SiteProtection.REQUIRETLS: "requiretls.test",
    SiteProtection.MEMORY: "memory.example",
}
SIGNED = frozenset(
    {
        SiteProtection.DANE_EE,
        SiteProtection.DANE_TA,
        SiteProtection.DANE_AND_STS,
        SiteProtection.PARTIAL_DANE,
        SiteProtection.REQUIRETLS,
    }
)
END_ENTITY = frozenset({SiteProtection.DANE_EE, SiteProtection.DANE_AND_STS, SiteProtection.PARTIAL_DANE})
WITH_STS = frozenset(
    {
        SiteProtection.STS_TESTING,
        SiteProtection.STS_FIRST,
        SiteProtection.MTA_STS,
        SiteProtection.DANE_AND_STS,
        SiteProtection.PARTIAL_DANE,
    }
)
PRIVATELY_CERTIFIED = frozenset({SiteProtection.OWN_CA, SiteProtection.DANE_TA})
SELF_CERTIFIED = frozenset({SiteProtection.NONE, SiteProtection.REQUIRE_TLS, SiteProtection.DANE_EE})
# Where the port for implicit TLS is attacked, the operator has a route to it for these: nobody else gets anything
# there, so the order of the protections holds although others do not use the port that is attacked.
ROUTED = frozenset({SiteProtection.OWN_CA})
TWO_HOSTS = frozenset({SiteProtection.PARTIAL_DANE})  # the second one has no TLSA records

ATTACKER_DOMAIN = "mallory.example"
ATTACKER_HOST = f"mx.{ATTACKER_DOMAIN}"
SRV_LABELS = "_smtp-tls._tcp"  # draft-nurpmeso-smtp-tls-srv
LIMBO = "limbo.test"  # its host never answers
POLICY_ID = "20261123"
# Berths: the DNS; the attacker's MX host; limbo's, bound and never listening; the policy host of all domains that have
# one; the attacker's own; then for each domain its public address, the honest server's own one, and that of its second
# MX host, if it has one.
DNS_BERTH, ATTACKER_BERTH, LIMBO_BERTH, POLICY_BERTH, LURE_BERTH, FIRST_DOMAIN_BERTH = range(6)
BERTHS = FIRST_DOMAIN_BERTH + 3 * len(DOMAINS)


@dataclass(frozen=True, slots=True)
class Site:
    """A domain's MX hosts: their names, the addresses in the DNS, and where the honest server is when those are taken.

    All its hosts have one certificate. `berth` is the number of the first host's address; the next two numbers are
    the site's, too.
    """

    protection: SiteProtection
    domain: str
    berth: int
    credential: Credential

    @property
    def host(self) -> str:
        """The name of the MX host."""
        return f"mx.{self.domain}"

    @property
    def backstage_berth(self) -> int:
        """Where the honest server is when an attacker has its address."""
        return self.berth + 1

    @property
    def second_berth(self) -> int:
        """The address of the second MX host, where there is one."""
        return self.berth + 2

    @property
    def second_host(self) -> str | None:
        """The second MX host."""
        return f"mx2.{self.domain}" if self.protection in TWO_HOSTS else None

    @property
    def hosts(self) -> tuple[str, ...]:
        """All of them."""
        return (self.host, self.second_host) if self.second_host else (self.host,)

    @property
    def lookalike(self) -> str:
        """A host of the attacker's whose name begins as this one's."""
        return f"{self.host}.{ATTACKER_DOMAIN}"

    @property
    def abandoned(self) -> str:
        """A host of the domain's that it gave up, with an address that is the attacker's now; no policy names it."""
        return f"old.{self.domain}"


@dataclass(frozen=True, slots=True)
class World:
    """Everything that is true in a box."""

    names: NameSpace
    sites: dict[SiteProtection, Site]
    public_authority: Credential
    private_authority: Credential
    attacker_credential: Credential  # valid, for the attacker's own names, and hosts that domains gave up
    impostor_credentials: dict[SiteProtection, Credential]  # self-signed, for the victims' names
    policy_credential: Credential
    forged_policy_credential: Credential  # self-signed
    lure_credential: Credential  # valid, for the attacker's own policy host

    @property
    def attacker_host(self) -> str:
        """The attacker's own MX host."""
        return ATTACKER_HOST

    @property
    def policy_host(self) -> str:
        """Who serves the MTA-STS policy of the domain that has nothing else."""
        return f"mta-sts.{DOMAINS[SiteProtection.MTA_STS]}"

    @property
    def policy_hosts(self) -> tuple[str, ...]:
        """Everybody who serves one."""
        return tuple(f"mta-sts.{DOMAINS[each]}" for each in SiteProtection if each in WITH_STS)

    @property
    def lure_host(self) -> str:
        """The attacker's own policy host, the target of redirects."""
        return f"mta-sts.{ATTACKER_DOMAIN}"

    def authority_of(self, protection: SiteProtection) -> Credential | None:
        """Who issued the certificate of a domain's hosts; None: nobody."""
        if protection in SELF_CERTIFIED:
            return None
        return self.private_authority if protection in PRIVATELY_CERTIFIED else self.public_authority

    def true_policy(self, host: str) -> bytes:
        """What the honest policy host serves under a name."""
        domain = host.removeprefix("mta-sts.")
        site = next((each for each in self.sites.values() if each.domain == domain), None)
        if site is None:
            return b""
        testing = site.protection is SiteProtection.STS_TESTING
        return policy(*site.hosts, mode="testing" if testing else "enforce")


def policy(*hosts: str, mode: str = "enforce", max_age: int = 604_800) -> bytes:
    """The text of an MTA-STS policy (RFC 8461 section 3.2); it holds for a week."""
    named = "".join(f"mx: {host}\n" for host in hosts)
    return f"version: STSv1\nmode: {mode}\n{named}max_age: {max_age}\n".encode()


def make_world(berths: Berths, *, now: float, unusable_tlsa: bool = False, implicit: bool = False) -> World:
    """A fresh world with fresh keys, whose MX hosts are at the given berths.

    `unusable_tlsa`: the TLSA records that its domains publish are of a kind that SMTP cannot use. `implicit`: domains
    with signed DNS announce implicit TLS.
    """
    public, private = make_authority("Lab Public CA"), make_authority("Lab Private CA")
    sites = {protection: _site(number, protection, public, private) for number, protection in enumerate(DOMAINS)}
    zones = _zones(berths, sites, private, unusable_tlsa=unusable_tlsa)
    if implicit:
        _announce_implicit(zones, berths, sites.values())
    for zone in zones:
        zone.publish(Validity.around(now))
    policy_hosts = [f"mta-sts.{DOMAINS[each]}" for each in SiteProtection if each in WITH_STS]
    return World(
        names=NameSpace(zones),
        sites=sites,
        public_authority=public,
        private_authority=private,
        attacker_credential=issue(
            public, ATTACKER_HOST, *(name for site in sites.values() for name in (site.lookalike, site.abandoned))
        ),
        impostor_credentials={protection: make_self_signed(*site.hosts) for protection, site in sites.items()},
        policy_credential=issue(public, *policy_hosts),
        forged_policy_credential=make_self_signed(*policy_hosts),
        lure_credential=issue(public, f"mta-sts.{ATTACKER_DOMAIN}"),
    )


def _site(number: int, protection: SiteProtection, public: Credential, private: Credential) -> Site:
    domain = DOMAINS[protection]
    hosts = [f"mx.{domain}", *([f"mx2.{domain}"] if protection in TWO_HOSTS else [])]
    if protection in SELF_CERTIFIED:
        credential = make_self_signed(*hosts)
    else:
        credential = issue(private if protection in PRIVATELY_CERTIFIED else public, *hosts)
    return Site(protection, domain, FIRST_DOMAIN_BERTH + 3 * number, credential)


def _zones(
    berths: Berths, sites: dict[SiteProtection, Site], private: Credential, *, unusable_tlsa: bool
) -> list[Zone]:
    """The root; test. denies by NSEC, example. by NSEC3; then the domains."""
    root = Zone(".", key=ZoneKey.make())
    test = Zone("test.", key=ZoneKey.make())
    example = Zone("example.", key=ZoneKey.make(), denial=Denial.NSEC3)
    test.add("ns.nic", "A", berths.address(DNS_BERTH))
    domains = [_domain(site, berths, private, unusable_tlsa=unusable_tlsa) for site in sites.values()]
    attacker = Zone(f"{ATTACKER_DOMAIN}.")
    _add_mx(attacker, berths.address(ATTACKER_BERTH))
    for site in sites.values():
        attacker.add(f"{site.lookalike}.", "A", berths.address(ATTACKER_BERTH))
    attacker.add("mta-sts", "A", berths.address(LURE_BERTH))
    limbo = Zone(f"{LIMBO}.")
    _add_mx(limbo, berths.address(LIMBO_BERTH))
    for tld in (test, example):
        root.delegate(tld)
        for child in (*domains, attacker, limbo):
            if child.origin.is_subdomain(tld.origin):
                tld.delegate(child)
    return [root, test, example, attacker, limbo, *domains]


def _domain(site: Site, berths: Berths, private: Credential, *, unusable_tlsa: bool) -> Zone:
    """A domain's zone: signed, with TLSA, where DANE protects it. DANE-TA's is reached by an alias, as in practice."""
    denial = Denial.NSEC3 if site.protection is SiteProtection.DANE_TA else Denial.NSEC
    zone = Zone(f"{site.domain}.", key=ZoneKey.make() if site.protection in SIGNED else None, denial=denial)
    _add_mx(zone, berths.address(site.berth))
    if site.second_host:
        zone.add("@", "MX", "10 mx", "20 mx2")
        zone.add("mx2", "A", berths.address(site.second_berth))
    service = f"_{berths.port}._tcp.mx"
    if site.protection in END_ENTITY:
        zone.add(service, "TLSA", _usable(site.credential.tlsa_end_entity(), unusable=unusable_tlsa))
    elif site.protection is SiteProtection.DANE_TA:
        zone.add(service, "CNAME", f"_ta.{site.domain}.")
        zone.add("_ta", "TLSA", _usable(private.tlsa_trust_anchor(), unusable=unusable_tlsa))
    if site.protection in WITH_STS:
        zone.add("_mta-sts", "TXT", f'"v=STSv1; id={POLICY_ID};"')
        zone.add("mta-sts", "A", berths.address(POLICY_BERTH))
    return zone


def _announce_implicit(zones: Iterable[Zone], berths: Berths, sites: Iterable[Site]) -> None:
    """By the same TLSA records for that port as for the other one; by an SRV record where there are none."""
    by_origin = {zone.origin: zone for zone in zones}
    for site in sites:
        if site.protection not in SIGNED:
            continue
        zone = by_origin[dns.name.from_text(site.domain)]
        usual = zone.rrsets.get(dns.name.from_text(f"_{berths.port}._tcp.{site.host}"))
        if usual is None:
            zone.add(f"{SRV_LABELS}.{site.domain}.", "SRV", f"0 1 {berths.implicit_port} {site.host}.")
            continue
        for rdtype, rrset in usual.items():
            zone.add(f"_{berths.implicit_port}._tcp.{site.host}.", rdtype.name, *(each.to_text() for each in rrset))


def _usable(rdata: str, *, unusable: bool) -> str:
    """The same record, as PKIX-EE(1) where it must not be usable (RFC 7672 section 3.1.3)."""
    return f"1{rdata[1:]}" if unusable else rdata


def _add_mx(zone: Zone, address: str) -> None:
    zone.add("@", "MX", "10 mx")
    zone.add("mx", "A", address)
