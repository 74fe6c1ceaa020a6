"""A small DNS and its MTA-STS policies, from which the companion decides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from letterlock.companion.deciding import Decided, decide
from letterlock.companion.postfix_key import next_hop
from letterlock.discover import Discoverer
from letterlock.identity.trust import TrustRoots
from letterlock.mtasts import Absent, Known, Mode, PolicyUnavailable, StsEvidence, StsPolicy
from letterlock.resolver.answer import Absence, Answer, FailureKind, LookupFailure, Security
from letterlock.routing.destination_rule import DestinationRule, RuleException, TlsRule
from letterlock.routing.rules import Rules
from tests.discover.test_discoverer import Book
from tests.net.https_servers import FixedClock
from tests.policy.evidence import DOMAIN, GOOD_TLSA, HOST, INSECURE, NOW, SECURE, answer, failure

HOST2 = "mx2.example.org"
SYSTEM = TrustRoots("system", ())
FAILS, BOGUS = FailureKind.SERVFAIL, FailureKind.BOGUS


@dataclass(frozen=True)
class Site:
    """An MX host: its addresses and TLSA records, each perhaps unsigned, or a failure."""

    tlsa: Sequence[str] | FailureKind = (GOOD_TLSA,)
    addresses: Sequence[str] | FailureKind = ("192.0.2.1",)
    security: Security = SECURE
    tlsa_security: Security = SECURE
    absence: Absence = Absence.NODATA
    port: int = 25


NO_TLSA = Site(tlsa=())
UNSIGNED = Site(tlsa=(), security=INSECURE)


@dataclass(frozen=True)
class World:
    """A domain, its MX records and hosts, its policy and the operator's rules."""

    mx: Sequence[str] | FailureKind = (f"10 {HOST}.",)
    mx_security: Security = SECURE
    mx_absence: Absence = Absence.NODATA
    hosts: Mapping[str, Site] = field(default_factory=lambda: {HOST: Site()})
    sts: StsEvidence | None = None
    rules: Sequence[DestinationRule] = ()
    domain: str = DOMAIN

    def records(self) -> list[Answer | LookupFailure]:
        found: list[Answer | LookupFailure] = []
        if isinstance(self.mx, FailureKind):
            found.append(failure(self.domain, "MX", self.mx))
        else:
            mx = answer(self.domain, "MX", *self.mx, security=self.mx_security, absence=self.mx_absence)
            found.append(mx)
        for name, site in self.hosts.items():
            found += _records(name, site)
        return found

    def discoverer(self) -> tuple[Discoverer, Book]:
        book = Book(self.records())
        rules = Rules({rule.domain: rule for rule in self.rules})
        policies = None if self.sts is None else _OnePolicy(self.sts)
        return Discoverer(book, rules, clock=FixedClock(), sts=policies, public_roots=SYSTEM), book

    async def decided(self, key: str | None = None, *, fingerprints: bool = False) -> Decided:
        hop = next_hop((key or self.domain).encode())
        assert hop is not None
        discoverer, _ = self.discoverer()
        return await decide(discoverer.for_another_server(), hop, fingerprints=fingerprints)


class _OnePolicy:
    def __init__(self, sts: StsEvidence) -> None:
        self._sts = sts

    async def find(self, domain: str) -> StsEvidence:
        return self._sts

    async def recheck(self, domain: str) -> StsEvidence:
        return self._sts


def _records(name: str, site: Site) -> list[Answer | LookupFailure]:
    owner = f"_{site.port}._tcp.{name}"
    found: list[Answer | LookupFailure] = []
    if isinstance(site.addresses, FailureKind):
        found += [failure(name, kind, site.addresses) for kind in ("A", "AAAA")]
    else:
        found.append(answer(name, "A", *site.addresses, security=site.security, absence=site.absence))
        found.append(answer(name, "AAAA", security=site.security, absence=site.absence))
    if isinstance(site.tlsa, FailureKind):
        found.append(failure(owner, "TLSA", site.tlsa))
    else:
        found.append(answer(owner, "TLSA", *site.tlsa, security=site.tlsa_security))
    return found


def two(first: Site, second: Site, **more: object) -> World:
    """A domain with two MX hosts."""
    mx = (f"10 {HOST}.", f"20 {HOST2}.")
    return World(mx=mx, hosts={HOST: first, HOST2: second}, **more)  # type: ignore[arg-type]  # keywords of World


def sts(mode: Mode = Mode.ENFORCE, *mx: str, trouble: str | None = None) -> Known:
    """A policy for both hosts, or for those patterns."""
    policy = StsPolicy(mode=mode, max_age_seconds=604_800, mx=mx or (HOST, HOST2))
    return Known(
        policy=policy, id="1", fetched_at=NOW, expires_at=NOW + 600_000, from_cache=trouble is not None, trouble=trouble
    )


ENFORCE = sts()
ABSENT, UNAVAILABLE = Absent(), PolicyUnavailable("the TXT lookup failed")


def demand(tls: TlsRule, domain: str = DOMAIN, **more: object) -> DestinationRule:
    """A rule of the operator."""
    return DestinationRule(domain=domain, tls=tls, source="letterlock.toml:7", **({"trust": SYSTEM} | more))  # type: ignore[arg-type]  # keywords of the rule


def exception(*, clear: bool, ends: float = NOW + 3600) -> DestinationRule:
    """A rule with an exception."""
    return demand(TlsRule.MAY, exception=RuleException(allow_clear=clear, why="broken keys", until=ends))
