"""Questions to ask about a site: what is there, what is not, and everything that lies between."""

import random
from collections.abc import Sequence

import dns.name
from dns.name import Name
from dns.rdatatype import RdataType

from tests.agreement.content import above
from tests.agreement.internet import Internet
from tests.agreement.plan import Site

TYPES = (
    "A",
    "AAAA",
    "MX",
    "TXT",
    "TLSA",
    "DS",
    "DNSKEY",
    "NS",
    "SOA",
    "CNAME",
    "SRV",
    "RP",
    "NAPTR",
    "PTR",
    "TYPE65400",
)
ABSENT = (
    b"absent",
    b"0",
    b"zzzz",
    b"*",
    b"_25._tcp",
    b"any.wild",
    b"deep.er.wild",
    b"any.walias",
    b"any.wout",
    b"x.tree",
    b"www.tree",
    b"www.tree2",
    b"ent.deep",
    b"deep",
    b"x.ent.deep",
    b"below.www",
    b"below.alias",
    b"of.far",
    b"x.of.far",
    b"of.wide",
    b"absent.sub",
    b"absent.plain",
    b"\\000",
)  # fmt: skip


def ask_about(site: Site, internet: Internet, count: int) -> Sequence[tuple[Name, RdataType]]:
    """So many different questions, the same for the same seed."""
    rng = random.Random(site.seed)
    names = _names(site, internet)
    every = {(rng.choice(names), _type(rng)) for _ in range(count * 4)}
    likely = [
        (name, rdtype)
        for name in names
        for rdtype in sorted(internet.content_of(name).sets.get(name, {}))
        if rdtype not in (RdataType.NSEC, RdataType.NSEC3, RdataType.NSEC3PARAM)
    ]
    some = sorted(every, key=lambda each: (each[0].to_text(), int(each[1])))
    rng.shuffle(some)
    chosen = [*rng.sample(likely, min(len(likely), count // 2)), *some]
    return list(dict.fromkeys(chosen))[:count]


def _type(rng: random.Random) -> RdataType:
    return RdataType.from_text(rng.choice((*TYPES, "A", "MX", "TLSA", "DS", "TXT")))


def _names(site: Site, internet: Internet) -> list[Name]:
    found: set[Name] = set()
    for plan in site.plans:
        content = internet.contents[plan.origin]
        found |= content.existing
        found |= {up for name in content.existing for up in above(name, plan.origin)}
        found |= {dns.name.from_text(label.decode(), plan.origin) for label in ABSENT}
    return sorted(found)
