"""The world of a box: who is there, under which name, at which address, and the signed DNS that says so."""

from dataclasses import dataclass

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
    SiteProtection.MTA_STS: "sts.example",
    SiteProtection.DANE_EE: "dane-ee.test",
    SiteProtection.DANE_TA: "dane-ta.example",
}
ATTACKER_DOMAIN = "mallory.example"
LIMBO = "limbo.test"  # its host never answers
POLICY_ID = "20261123"
# Berths: the DNS; the attacker's MX host; limbo's, bound and never listening; the policy host, one that forges it,
# and the attacker's own; then for each domain its public address and the honest server's own one.
DNS_BERTH, ATTACKER_BERTH, LIMBO_BERTH, POLICY_BERTH, FORGED_POLICY_BERTH, LURE_BERTH, FIRST_DOMAIN_BERTH = range(7)
BERTHS = FIRST_DOMAIN_BERTH + 2 * len(DOMAINS)


@dataclass(frozen=True, slots=True)
class Site:
    """A domain's MX host: its name, its address in the DNS, and where the honest server is when that is taken."""

    protection: SiteProtection
    domain: str
    berth: int
    backstage_berth: int
    credential: Credential

    @property
    def host(self) -> str:
        """The name of the MX host."""
        return f"mx.{self.domain}"


@dataclass(frozen=True, slots=True)
class World:
    """Everything that is true in a box."""

    names: NameSpace
    sites: dict[SiteProtection, Site]
    public_authority: Credential
    attacker_host: str
    attacker_credential: Credential  # valid, for the attacker's own name
    impostor_credentials: dict[SiteProtection, Credential]  # self-signed, for the victims' names
    bought_credentials: dict[SiteProtection, Credential]  # for the victims' names, from the public authority
    policy_credential: Credential
    forged_policy_credential: Credential  # self-signed
    lure_credential: Credential  # valid, for the attacker's own policy host

    @property
    def policy_host(self) -> str:
        """Who serves the MTA-STS policy."""
        return f"mta-sts.{DOMAINS[SiteProtection.MTA_STS]}"

    @property
    def lure_host(self) -> str:
        """The attacker's own policy host, the target of redirects."""
        return f"mta-sts.{ATTACKER_DOMAIN}"

    def policy(self, mx: str) -> bytes:
        """An MTA-STS policy in force that names one host."""
        second = f"mx: {mx.replace('mx.', 'mx2.', 1)}\n"  # only some worlds have it
        return f"version: STSv1\nmode: enforce\nmx: {mx}\n{second}max_age: 604800\n".encode()


def make_world(berths: Berths, *, now: float, sts_with_dane: bool = False, partial_dane: bool = False) -> World:
    """A fresh world with fresh keys, whose MX hosts are at the given berths.

    `sts_with_dane`: the domain with MTA-STS is signed, and has DANE as well; `partial_dane`: and a second MX host, by
    the same address, which has no TLSA records.
    """
    public, private = make_authority("Lab Public CA"), make_authority("Lab Private CA")
    sites = {protection: _site(number, protection, public, private) for number, protection in enumerate(DOMAINS)}
    attacker_host = f"mx.{ATTACKER_DOMAIN}"
    zones = _zones(berths, sites, private, sts_with_dane=sts_with_dane or partial_dane)
    if partial_dane:
        site = sites[SiteProtection.MTA_STS]
        _add_second_mx(next(each for each in zones if each.origin.to_text() == f"{site.domain}."), berths, site)
    for zone in zones:
        zone.publish(Validity.around(now))
    return World(
        names=NameSpace(zones),
        sites=sites,
        public_authority=public,
        attacker_host=attacker_host,
        attacker_credential=issue(public, attacker_host),
        impostor_credentials={protection: make_self_signed(site.host) for protection, site in sites.items()},
        bought_credentials={protection: issue(public, site.host) for protection, site in sites.items()},
        policy_credential=issue(public, f"mta-sts.{DOMAINS[SiteProtection.MTA_STS]}"),
        forged_policy_credential=make_self_signed(f"mta-sts.{DOMAINS[SiteProtection.MTA_STS]}"),
        lure_credential=issue(public, f"mta-sts.{ATTACKER_DOMAIN}"),
    )


def _site(number: int, protection: SiteProtection, public: Credential, private: Credential) -> Site:
    domain = DOMAINS[protection]
    host = f"mx.{domain}"
    if protection in (SiteProtection.VERIFY, SiteProtection.MTA_STS):
        credential = issue(public, host)
    elif protection is SiteProtection.DANE_TA:
        credential = issue(private, host)
    else:
        credential = make_self_signed(host)
    berth = FIRST_DOMAIN_BERTH + 2 * number
    return Site(protection, domain, berth, berth + 1, credential)


def _zones(
    berths: Berths, sites: dict[SiteProtection, Site], private: Credential, *, sts_with_dane: bool
) -> list[Zone]:
    """The root; test. denies by NSEC, example. by NSEC3; then the domains."""
    root = Zone(".", key=ZoneKey.make())
    test = Zone("test.", key=ZoneKey.make())
    example = Zone("example.", key=ZoneKey.make(), denial=Denial.NSEC3)
    test.add("ns.nic", "A", berths.address(DNS_BERTH))
    domains = [_domain(site, berths, private, sts_with_dane=sts_with_dane) for site in sites.values()]
    attacker = Zone(f"{ATTACKER_DOMAIN}.")
    _add_mx(attacker, berths.address(ATTACKER_BERTH))
    attacker.add("mta-sts", "A", berths.address(LURE_BERTH))
    limbo = Zone(f"{LIMBO}.")
    _add_mx(limbo, berths.address(LIMBO_BERTH))
    for tld in (test, example):
        root.delegate(tld)
        for child in (*domains, attacker, limbo):
            if child.origin.is_subdomain(tld.origin):
                tld.delegate(child)
    return [root, test, example, attacker, limbo, *domains]


def _domain(site: Site, berths: Berths, private: Credential, *, sts_with_dane: bool) -> Zone:
    """A domain's zone: signed, with TLSA, where DANE protects it. DANE-TA's is reached by an alias, as in practice."""
    both = sts_with_dane and site.protection is SiteProtection.MTA_STS
    signed = both or site.protection in (SiteProtection.DANE_EE, SiteProtection.DANE_TA)
    denial = Denial.NSEC3 if site.protection is SiteProtection.DANE_TA else Denial.NSEC
    zone = Zone(f"{site.domain}.", key=ZoneKey.make() if signed else None, denial=denial)
    _add_mx(zone, berths.address(site.berth))
    service = f"_{berths.port}._tcp.mx"
    if both or site.protection is SiteProtection.DANE_EE:
        zone.add(service, "TLSA", site.credential.tlsa_end_entity())
    elif site.protection is SiteProtection.DANE_TA:
        zone.add(service, "CNAME", f"_ta.{site.domain}.")
        zone.add("_ta", "TLSA", private.tlsa_trust_anchor())
    if site.protection is SiteProtection.MTA_STS:
        zone.add("_mta-sts", "TXT", f'"v=STSv1; id={POLICY_ID};"')
        zone.add("mta-sts", "A", berths.address(POLICY_BERTH))
    return zone


def _add_second_mx(zone: Zone, berths: Berths, site: Site) -> None:
    zone.add("@", "MX", "10 mx", "20 mx2")
    zone.add("mx2", "A", berths.address(site.berth))


def _add_mx(zone: Zone, address: str) -> None:
    zone.add("@", "MX", "10 mx")
    zone.add("mx", "A", address)
