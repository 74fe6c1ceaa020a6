"""What postfix-tlspol documents for a situation, what we answer, and why where that differs.

Theirs is by the README and the names of the tests of postfix-tlspol (November 2026), in our words: it is not run here.
`tools/docs.py` writes docs/reference/postfix-tlspol.md from this table, and `test_situations` holds ours.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from letterlock.mtasts import Absent, Mode
from letterlock.resolver.answer import Absence
from letterlock.routing.destination_rule import TlsRule
from tests.companion.world import (
    ABSENT,
    BOGUS,
    ENFORCE,
    FAILS,
    HOST2,
    NO_TLSA,
    UNAVAILABLE,
    UNSIGNED,
    Site,
    World,
    demand,
    exception,
    sts,
    two,
)
from tests.policy.evidence import DOMAIN, GOOD_TLSA, HOST, INDETERMINATE, INSECURE, OTHER_TLSA, TA_TLSA, UNUSABLE_TLSA

BOTH = f"secure match={HOST}:{HOST2} servername=hostname"
ONE = f"secure match={HOST} servername=hostname"
NONE = "NOTFOUND"
TEMP = "TEMP"
WITHOUT_OLD_TLS = "protocols=!SSLv2:!SSLv3:!TLSv1:!TLSv1.1"
"""What every level but `may` carries, so that Postfix uses no TLS that our own deliveries would not; left out below."""
NO_RULES = "no rules"  # postfix-tlspol has none: a static map in front answers instead


@dataclass(frozen=True)
class Situation:
    """A situation in words and as a world; `theirs` and `ours` are answers without `OK`."""

    text: str
    world: World
    theirs: str
    ours: str
    why: str = ""
    key: str | None = None


def situations() -> Iterator[Situation]:
    """All of them, by what they are about."""
    yield from _dane()
    yield from _failures()
    yield from _sts_alone()
    yield from _together()
    yield from _keys()
    yield from _rules()


def _dane() -> Iterator[Situation]:
    s = Situation
    yield s("one MX host, all signed, a usable TLSA record", World(), "dane-only", "dane-only")
    yield s("two MX hosts, both with usable TLSA records", two(Site(), Site()), "dane-only", "dane-only")
    yield s("signed, no TLSA records", World(hosts={HOST: NO_TLSA}), NONE, NONE)
    yield s("nothing is signed", World(mx_security=INSECURE, hosts={HOST: UNSIGNED}), NONE, NONE)
    yield s("unsigned MX, the host has TLSA records", World(mx_security=INSECURE), "dane", "dane")
    yield s("signed MX, unsigned address of the host", World(hosts={HOST: UNSIGNED}), NONE, NONE)
    insecure_tlsa = Site(tlsa_security=INSECURE)
    yield s("signed address, TLSA records in an unsigned zone", World(hosts={HOST: insecure_tlsa}), NONE, NONE)
    yield s("two MX hosts, one with TLSA records, no policy", two(Site(), NO_TLSA), "dane", "dane")
    yield s("two MX hosts, one signed with records, one unsigned", two(Site(), UNSIGNED), "dane", "dane")
    yield s(
        "only TLSA records that nobody can use",
        World(hosts={HOST: Site(tlsa=(UNUSABLE_TLSA,))}),
        "dane",
        "encrypt",
        "the same at worst; `encrypt` cannot become cleartext when another resolver does not see the records",
    )
    mixed = Site(tlsa=(UNUSABLE_TLSA, GOOD_TLSA))
    yield s("a usable record next to one that is not", World(hosts={HOST: mixed}), "dane-only", "dane-only")
    yield s("DANE-TA records", World(hosts={HOST: Site(tlsa=(TA_TLSA,))}), "dane-only", "dane-only")
    yield s(
        "two keys, one of them next", World(hosts={HOST: Site(tlsa=(GOOD_TLSA, OTHER_TLSA))}), "dane-only", "dane-only"
    )
    cut = Site(tlsa=(f"7 1 1 {'ab' * 32}",))
    yield s(
        "a TLSA record with an unknown certificate usage",
        World(hosts={HOST: cut}),
        "dane",
        "encrypt",
        "RFC 7672 section 2.2: records that are all unusable demand TLS without authentication",
    )
    one_unusable = two(Site(), Site(tlsa=(UNUSABLE_TLSA,)))
    yield s("one host with usable records, one with unusable ones", one_unusable, "dane", "dane")
    unusable_and_none = two(Site(tlsa=(UNUSABLE_TLSA,)), NO_TLSA)
    yield s("one host with unusable records, one with none", unusable_and_none, "dane", "dane")
    implicit = World(mx=(), hosts={DOMAIN: Site()})
    yield s(
        "no MX record, signed (NODATA): the domain is the host and has TLSA records", implicit, "dane-only", "dane-only"
    )
    yield s("no MX record and no TLSA record", World(mx=(), hosts={DOMAIN: NO_TLSA}), NONE, NONE)
    yield s("null MX", World(mx=("0 .",)), NONE, NONE)
    yield s("the domain does not exist, proven", World(mx=(), mx_absence=Absence.NXDOMAIN), NONE, NONE)
    gone = World(mx=(), mx_absence=Absence.NXDOMAIN, mx_security=INSECURE)
    yield s("the domain does not exist, by unsigned DNS", gone, NONE, NONE)
    nx = Site(tlsa=(), addresses=(), security=INSECURE, absence=Absence.NXDOMAIN)
    yield s(
        "one MX host does not exist (unsigned), the other has TLSA records", two(nx, Site()), "dane-only", "dane-only"
    )
    yield s("one MX host does not exist, the other has no TLSA records", two(nx, NO_TLSA), NONE, NONE)
    none = Site(tlsa=(), addresses=())
    yield s("no MX host has an address", two(none, none), NONE, NONE)


def _failures() -> Iterator[Situation]:
    s = Situation
    yield s("the MX lookup fails", World(mx=FAILS), TEMP, TEMP)
    yield s("the MX answer is bogus", World(mx=BOGUS), TEMP, TEMP)
    yield s("no trust anchor covers the MX answer", World(mx_security=INDETERMINATE), NONE, TEMP, "we trust no AD bit")
    yield s("the TLSA lookup fails", World(hosts={HOST: Site(tlsa=FAILS)}), TEMP, TEMP)
    yield s("the TLSA answer is bogus", World(hosts={HOST: Site(tlsa=BOGUS)}), TEMP, TEMP)
    yield s("the address lookup of the only host fails", World(hosts={HOST: Site(addresses=FAILS)}), TEMP, TEMP)
    yield s("the address of the only host is bogus", World(hosts={HOST: Site(addresses=BOGUS)}), TEMP, TEMP)
    broken = Site(addresses=FAILS)
    yield s(
        "the address lookup of one host fails, the other has TLSA records",
        two(broken, Site()),
        "dane",
        "dane-only",
        "stricter, and mail flows to the host that works: the other may not be used without TLSA records",
    )
    yield s(
        "the address lookup of one host fails, the other has no TLSA records",
        two(broken, NO_TLSA),
        NONE,
        TEMP,
        "the host that failed may have TLSA records, and Postfix may find its address",
    )
    yield s("the TLSA lookup of one host fails, the other has none", two(Site(tlsa=FAILS), NO_TLSA), TEMP, TEMP)
    yield s(
        "the TLSA lookup of one host fails, the other has records",
        two(Site(tlsa=FAILS), Site()),
        TEMP,
        "dane-only",
        "Postfix cannot use the host that failed, and the other one is safe",
    )
    yield s("the addresses of all hosts fail", two(broken, broken), TEMP, TEMP)
    bogus_with_sts = two(Site(tlsa=BOGUS), NO_TLSA, sts=ENFORCE)
    yield s("the TLSA answer of one host is bogus, a policy is enforced", bogus_with_sts, TEMP, TEMP)
    yield s(
        "the address lookup of one host fails, a policy is enforced",
        two(broken, UNSIGNED, mx_security=INSECURE, sts=ENFORCE),
        BOTH,
        BOTH,
    )
    yield s("the MX lookup fails, a policy is remembered", World(mx=FAILS, sts=ENFORCE), TEMP, TEMP)


def _sts_alone() -> Iterator[Situation]:
    s = Situation
    plain = {HOST: UNSIGNED}
    one = sts(Mode.ENFORCE, HOST)

    def unsigned(policy: object, **more: object) -> World:
        return World(mx_security=INSECURE, hosts=plain, sts=policy, **more)  # type: ignore[arg-type]  # as World has them

    yield s("policy in mode enforce", unsigned(one), ONE, ONE)
    wild = sts(Mode.ENFORCE, "*.example.org")
    yield s(
        "policy with a wildcard",
        unsigned(wild),
        "secure match=.example.org servername=hostname",
        "secure match=.example.org servername=hostname",
    )
    yield s("policy in mode testing", unsigned(sts(Mode.TESTING, HOST)), NONE, NONE)
    yield s("policy in mode none", unsigned(sts(Mode.NONE)), NONE, NONE)
    yield s("no policy", unsigned(ABSENT), NONE, NONE)
    yield s("a TXT record that is invalid", unsigned(Absent("two records")), NONE, NONE)
    yield s(
        "the policy cannot be fetched, and none is remembered",
        unsigned(UNAVAILABLE),
        NONE,
        NONE,
        "RFC 8461 section 3.3: deliver as without a policy; `policy query` and `check` show the failure",
    )
    blocked = sts(Mode.ENFORCE, HOST, trouble="the TXT record is gone")
    yield s("the TXT record is gone or blocked, the policy is remembered", unsigned(blocked), ONE, ONE)
    other = sts(Mode.ENFORCE, "mx.elsewhere.example")
    held = "secure match=mx.elsewhere.example servername=hostname"
    yield s("the policy names no MX host of the domain", unsigned(other), held, held)
    gone = World(mx=(), mx_security=INSECURE, mx_absence=Absence.NXDOMAIN, hosts={}, sts=one)
    yield s(
        "unsigned DNS says that the domain is gone, a policy is remembered",
        gone,
        ONE,
        TEMP,
        "somebody hides the domain: mail waits (RFC 8461 section 10.2)",
    )


def _together() -> Iterator[Situation]:
    s = Situation
    yield s(
        "TLSA records at every host, and a policy in mode enforce",
        two(Site(), Site(), sts=ENFORCE),
        "dane-only",
        "dane-only",
    )
    yield s(
        "TLSA records at one host of two, and a policy in mode enforce",
        two(Site(), NO_TLSA, sts=ENFORCE),
        "dane",
        BOTH,
        "`dane` drops the policy: whoever breaks the first host and strips STARTTLS from the second reads the mail",
    )
    yield s(
        "unsigned MX, TLSA records at the host, and a policy in mode enforce",
        World(mx_security=INSECURE, sts=sts(Mode.ENFORCE, HOST)),
        "dane",
        ONE,
        "`dane` drops the policy: a forged MX record leads to a host without TLSA records, in cleartext",
    )
    yield s(
        "only unusable TLSA records, and a policy in mode enforce",
        World(hosts={HOST: Site(tlsa=(UNUSABLE_TLSA,))}, sts=sts(Mode.ENFORCE, HOST)),
        "dane",
        ONE,
        "the policy still authenticates the host, `dane` would only encrypt",
    )
    yield s("no TLSA records, and a policy in mode enforce", two(NO_TLSA, NO_TLSA, sts=ENFORCE), BOTH, BOTH)
    yield s(
        "TLSA records at one host of two, policy in mode testing",
        two(Site(), NO_TLSA, sts=sts(Mode.TESTING)),
        "dane",
        "dane",
    )
    only_first = two(Site(), NO_TLSA, sts=sts(Mode.ENFORCE, HOST))
    yield s(
        "the policy names only the host that has TLSA records",
        only_first,
        "dane",
        "dane-only",
        "the other host may not be used in any case, and DANE covers the one that may",
    )
    yield s(
        "the same host, and the other one's address fails",
        two(Site(), Site(addresses=FAILS), sts=ENFORCE),
        "dane",
        "dane-only",
        "stricter, and mail flows to the host that works",
    )


def _keys() -> Iterator[Situation]:
    s = Situation
    yield s("next hop in capitals, with a dot at the end", World(), "dane-only", "dane-only", key="EXAMPLE.org.")
    yield s("next hop with port 25", World(), "dane-only", "dane-only", key=f"{DOMAIN}:25")
    with_port = World(hosts={HOST: Site(port=587)})
    yield s(
        "next hop with another port: TLSA records are those of that port",
        with_port,
        NONE,
        "dane-only",
        "RFC 7672 section 2.2.3: the port is part of the name of the TLSA records",
        key=f"{DOMAIN}:587",
    )
    yield s(
        "host in brackets with TLSA records",
        World(),
        NONE,
        "dane-only",
        "RFC 7672 section 2.2.2: a host that the operator names has TLSA records, too",
        key=f"[{HOST}]",
    )
    own = World(hosts={DOMAIN: UNSIGNED}, sts=sts(Mode.ENFORCE, DOMAIN))
    mine = f"secure match={DOMAIN} servername=hostname"
    yield s(
        "host in brackets that has a policy",
        own,
        NONE,
        mine,
        "RFC 8461 section 3.4: the policy of the next hop",
        key=f"[{DOMAIN}]",
    )
    yield s("IPv4 address in brackets", World(), NONE, NONE, key="[192.0.2.1]")
    yield s("IPv6 address in brackets, with a port", World(), NONE, NONE, key="[2001:db8::1]:2525")


def _rules() -> Iterator[Situation]:
    s, no = Situation, "rules of the operator are weighed in the same decision as our own deliveries"
    nothing = {HOST: UNSIGNED}

    def ruled(rule: object, **more: object) -> World:
        return World(**({"mx_security": INSECURE, "hosts": nothing, "rules": (rule,)} | more))  # type: ignore[arg-type]  # as World has them

    yield s("rule require-tls", ruled(demand(TlsRule.REQUIRE_TLS)), NO_RULES, "encrypt", no)
    yield s("rule verify", ruled(demand(TlsRule.VERIFY)), NO_RULES, "verify match=hostname servername=hostname", no)
    named = demand(TlsRule.VERIFY, names=("relay.example.net",))
    yield s("rule verify with a name", ruled(named), NO_RULES, "secure match=relay.example.net servername=hostname", no)
    pinned = demand(TlsRule.VERIFY, fingerprints=(b"\xab" * 32,))
    yield s("rule verify with a fingerprint", ruled(pinned), NO_RULES, f"fingerprint match={':'.join(['ab'] * 32)}", no)
    yield s("rule dane-only, no TLSA records", ruled(demand(TlsRule.DANE_ONLY)), NO_RULES, "dane-only", no)
    tls13 = demand(TlsRule.REQUIRE_TLS, minimum_version="TLSv1.3")
    answered = "encrypt protocols=!SSLv2:!SSLv3:!TLSv1:!TLSv1.1:!TLSv1.2"
    yield s("rule with TLS 1.3 at least", ruled(tls13), NO_RULES, answered, no)
    yield s(
        "rule require-tls, and DANE everywhere", World(rules=(demand(TlsRule.REQUIRE_TLS),)), NO_RULES, "dane-only", no
    )
    partial = two(Site(), NO_TLSA, rules=(demand(TlsRule.REQUIRE_TLS),))
    why = "Postfix has no level that demands DANE of one host and TLS of the other: the stricter one"
    yield s("rule require-tls, TLSA records at one host of two", partial, NO_RULES, "dane-only", why)
    yield s("exception, encrypted", World(rules=(exception(clear=False),)), NO_RULES, "encrypt", no)
    yield s("exception, cleartext too", World(rules=(exception(clear=True),)), NO_RULES, "may", no)
    ended = World(rules=(exception(clear=True, ends=1.0),))
    yield s("an exception that has ended", ended, NO_RULES, "dane-only", "it has no effect any more")
    audit = ruled(demand(TlsRule.REQUIRE_TLS, audit=True))
    yield s("rule in audit", audit, NO_RULES, NONE, "it is judged and holds nothing")
    both = ruled(demand(TlsRule.VERIFY), sts=sts(Mode.ENFORCE, HOST))
    yield s("rule verify, and a policy in mode enforce", both, NO_RULES, ONE, no)
    conflict = ruled(named, sts=sts(Mode.ENFORCE, HOST))
    why = "Postfix checks one set of names: mail waits, or goes through the relay door, which checks both"
    yield s("rule verify for a name that the policy does not allow", conflict, NO_RULES, TEMP, why)
    nowhere = World(mx=("0 .",), rules=(demand(TlsRule.DANE_ONLY),))
    yield s("rule dane-only, null MX", nowhere, NO_RULES, "dane-only", no)
    gone = ruled(demand(TlsRule.REQUIRE_TLS), mx=(), mx_absence=Absence.NXDOMAIN)
    yield s(
        "a rule for this domain, which unsigned DNS says is gone",
        gone,
        NO_RULES,
        TEMP,
        "somebody may hide it: mail waits",
    )
