"""What a decision costs for a destination that is known already: policy code alone, no DNS, no network.

`python -m bench.policy` builds the evidence on one destination of each kind once, as the caches hold it, and times the
three pure steps of a delivery over it: `route`, `require`, `judge`. The goal is 100 microseconds for all three. The
signatures of a chain are verified once and remembered with their dates: what is timed is every decision but the first.
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
from cryptography.hazmat.primitives.serialization import Encoding

from letterlock.identity.handshake import Completed
from letterlock.identity.trust import TrustRoots
from letterlock.lab.issuing import Credential, issue, make_authority
from letterlock.mtasts import Known, Mode, StsPolicy
from letterlock.policy.decision import Cleared, Requirement
from letterlock.policy.evidence import DestinationEvidence, MxHost, Origin, Route, SessionEvidence, StartTls, TargetHost
from letterlock.policy.judge import judge
from letterlock.policy.require import require
from letterlock.policy.route import route
from letterlock.resolver.answer import Absence, Answer, Question, Security
from letterlock.routing.destination_rule import DestinationRule, TlsRule
from letterlock.routing.routes import NextHop

DOMAIN, HOST = "example.org", "mx.example.org"
GOAL_MICROSECONDS = 100.0


@dataclass(frozen=True, slots=True)
class Case:
    """A destination of one kind, as the caches know it, and the session with it."""

    name: str
    evidence: DestinationEvidence
    target: TargetHost
    session: SessionEvidence


def main() -> None:
    """Measure, print, and end with 1 if a decision costs more than the goal."""
    parser = argparse.ArgumentParser(prog="python -m bench.policy", description=__doc__)
    parser.add_argument("--rounds", type=int, default=2_000, help="decisions in one measurement (default: 2000)")
    parser.add_argument("--repeat", type=int, default=9, help="measurements, of which the median counts (default: 9)")
    asked = parser.parse_args()
    print(
        f"{'destination':<26}{'route':>9}{'require':>9}{'judge':>9}{'all':>9}   microseconds, median of {asked.repeat}"
    )
    worst = 0.0
    for case in cases():
        parts = [_time(step, asked.rounds, asked.repeat) for step in _steps(case)]
        worst = max(worst, sum(parts))
        print(f"{case.name:<26}" + "".join(f"{part:9.1f}" for part in (*parts, sum(parts))))
    print(f"most: {worst:.1f} microseconds; the goal is {GOAL_MICROSECONDS:.0f}")
    raise SystemExit(worst > GOAL_MICROSECONDS)


def _steps(case: Case) -> tuple[Callable[[], object], ...]:
    shuffle = random.Random(1)  # noqa: S311  # the order of hosts, not a secret
    required = require(case.evidence, case.target)
    assert isinstance(required, Requirement), required
    assert isinstance(route(case.evidence, lambda hosts: shuffle.sample(hosts, len(hosts))), Route)
    verdict = judge(required, case.session, case.evidence.at)
    assert isinstance(verdict, Cleared), verdict
    return (
        lambda: route(case.evidence, lambda hosts: shuffle.sample(hosts, len(hosts))),
        lambda: require(case.evidence, case.target),
        lambda: judge(required, case.session, case.evidence.at),
    )


def _time(step: Callable[[], object], rounds: int, repeat: int) -> float:
    """Microseconds of CPU for one call: the median over the measurements."""
    measured = []
    for _ in range(repeat):
        began = time.process_time()
        for _ in range(rounds):
            step()
        measured.append((time.process_time() - began) / rounds * 1e6)
    return statistics.median(measured)


def cases() -> tuple[Case, ...]:
    """One destination of each kind."""
    authority = make_authority("An authority")
    leaf = issue(authority, HOST)
    roots = TrustRoots("system", (authority.certificate.public_bytes(Encoding.DER),))
    policy = _known()
    verify = DestinationRule(domain=DOMAIN, tls=TlsRule.VERIFY, source="letterlock.toml:1", trust=roots)
    end_entity, anchor = leaf.tlsa_end_entity(), authority.tlsa_trust_anchor()
    return (
        _case("nothing published", leaf, signed=False),
        _case("DANE-EE 3 1 1", leaf, end_entity),
        _case("DANE-EE, 4 records, 5 MX", leaf, *(f"3 1 1 {n:064x}" for n in range(3)), end_entity, hosts=5),
        _case("DANE-TA 2 0 1", leaf, anchor),
        _case("MTA-STS enforce", leaf, signed=False, sts=policy, roots=roots),
        _case("DANE-EE and MTA-STS", leaf, end_entity, sts=policy, roots=roots),
        _case("rule: verify", leaf, rule=verify),
    )


def _known() -> Known:
    now = time.time()
    return Known(
        policy=StsPolicy(mode=Mode.ENFORCE, max_age_seconds=604_800, mx=(f"*.{DOMAIN}",)),
        id="1",
        fetched_at=now,
        expires_at=now + 604_800,
        from_cache=True,
    )


def _case(
    name: str,
    leaf: Credential,
    *tlsa: str,
    signed: bool = True,
    hosts: int = 1,
    sts: Known | None = None,
    roots: TrustRoots | None = None,
    rule: DestinationRule | None = None,
) -> Case:
    state = Security.SECURE if signed else Security.INSECURE
    others = [f"{10 + number} mx{number}.{DOMAIN}." for number in range(1, hosts)]
    evidence = DestinationEvidence(
        next_hop=NextHop(DOMAIN),
        mx=_answer(DOMAIN, "MX", (f"10 {HOST}.", *others), state),
        rule=rule,
        sts=sts,
        public_roots=roots,
        at=time.time(),
    )
    target = TargetHost(
        host=MxHost(name=HOST, preference=10, origin=Origin.MX, secure=signed),
        port=25,
        canonical_name=HOST,
        addresses=("192.0.2.1",),
        address_lookups=(),
        address_security=state,
        tlsa_base=HOST if signed else None,
        tlsa=_answer(f"_25._tcp.{HOST}", "TLSA", tlsa, state) if signed else None,
    )
    chain = tuple(each.public_bytes(Encoding.DER) for each in (leaf.certificate, leaf.issuer) if each)
    shaken = Completed(version="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384", group="X25519", sni=HOST, chain=chain)
    session = SessionEvidence(address="192.0.2.1", port=25, starttls=StartTls.OFFERED, handshake=shaken)
    return Case(name, evidence, target, session)


def _answer(name: str, kind: str, records: tuple[str, ...], security: Security) -> Answer:
    owner, rdtype = dns.name.from_text(name), dns.rdatatype.from_text(kind)
    return Answer(
        question=Question(owner, rdtype),
        canonical_name=owner,
        records=tuple(dns.rdata.from_text(dns.rdataclass.IN, rdtype, text) for text in records),
        absence=None if records else Absence.NODATA,
        security=security,
        expires_at=time.time() + 3_600,
        ttl=3_600,
    )


if __name__ == "__main__":
    main()
