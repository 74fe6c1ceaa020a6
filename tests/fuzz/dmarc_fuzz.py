"""Throw hostile records, From fields and reports at DMARC: `python -m tests.fuzz.dmarc_fuzz --cases N --seed S`.

Only documented outcomes: a verdict, a report, or InvalidReport, NoAuthor, InvalidResults; and never more CPU than the
bound. Reports are damaged, packed as bombs, and given document types.
"""

import argparse
import gzip
import io
import random
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable

from letterlock.mail.unpacking import InvalidReport
from letterlock.mailauth.dmarc.author import NoAuthor, author_domains
from letterlock.mailauth.dmarc.evaluate import AuthMechanism, Evidence, Identifier, MechanismOutcome, evaluate
from letterlock.mailauth.dmarc.reasons import DmarcCode, DmarcResult
from letterlock.mailauth.dmarc.report_reader import read_report
from letterlock.mailauth.dmarc.walk import MAX_QUERIES
from letterlock.mailauth.message import split
from letterlock.mailauth.results import InvalidResults, parse, without_forged
from letterlock.resolver.answer import FailureKind
from tests.mailauth.dns_world import World

MAX_CPU_SECONDS = 5.0  # a bomb of the size that is read takes 0.3 s here; the bound is for slow and busy machines
DOMAINS = ("example.org", "a.example.org", "b.a.example.org", "org", "other.test", "x.y.z.a.b.c.d.e.f.example.org")
TAGS = (
    "p=reject",
    "p=none",
    "p=",
    "sp=x",
    "np=reject",
    "psd=y",
    "psd=n",
    "t=y",
    "adkim=s",
    "rua=mailto:a@b.test",
    "p=none",
    "=",
    ";;",
    "\x00",
    "rua=!!!!",
    "v=DMARC1",
    "pct=1",
    "x" * 300,
)
FROM = (
    "a@example.org",
    "<",
    ">",
    ",",
    ":",
    ";",
    "(",
    ")",
    '"',
    "\\",
    "@",
    " ",
    "x",
    "[1.2.3.4]",
    "\r\n ",
    "\xff",
    "=?utf-8?q?",
)
RESULTS = (
    "mx.test",
    ";",
    "=",
    "dkim",
    "pass",
    "(",
    ")",
    '"',
    "\\",
    ".",
    "/",
    " ",
    "reason",
    "none",
    "1",
    "header.d",
    "\r\n ",
)
XML = (
    b"<feedback>",
    b"</feedback>",
    b"<record>",
    b"</record>",
    b"<row>",
    b"</row>",
    b"<count>",
    b"9" * 30,
    b"</count>",
    b"&a;",
    b"<policy_published>",
    b"<domain>",
    b"a.test",
    b"</domain>",
    b"</policy_published>",
    b"<source_ip>",
    b"1.2.3.4",
    b"</source_ip>",
    b"<![CDATA[",
    b"]]>",
    b"<!--",
    b"-->",
    b"\x00",
    b"\xff",
    b" xmlns='x'",
    b"<a b='c'/>",
)
REPORT = (
    b"<feedback><report_metadata><org_name>o</org_name><report_id>1</report_id><date_range><begin>1</begin><end>2</end>"
    b"</date_range></report_metadata><policy_published><domain>a.test</domain><p>none</p></policy_published><record><row>"
    b"<source_ip>192.0.2.1</source_ip><count>1</count><policy_evaluated><disposition>none</disposition></policy_evaluated>"
    b"</row><identifiers><header_from>a.test</header_from></identifiers></record></feedback>"
)


class Unbounded(AssertionError):
    """A case did more than it may, or ended as it must not."""


def sound_tags(chance: random.Random) -> list[str]:
    """The tags of a record that is valid."""
    psd = chance.choice(("psd=y", "psd=n", "psd=u"))
    optional = ("sp=none", "np=reject", psd, "t=y", "adkim=s", "aspf=s", "rua=mailto:a@b.test")
    return [f"p={chance.choice(('none', 'quarantine', 'reject'))}", *chance.sample(optional, chance.randrange(4))]


def verdict_case(chance: random.Random) -> str:
    """A tree of hostile records, and identifiers around it."""
    world = World()
    for domain in DOMAINS:
        for _ in range(chance.choice((0, 1, 1, 1, 2))):
            tags = chance.choices(TAGS, k=chance.randrange(12)) if chance.random() < 0.5 else sound_tags(chance)
            world.add(f"_dmarc.{domain}", "TXT", f"v=DMARC1; {'; '.join(tags)}")
        if chance.random() < 0.1:
            world.fail(f"_dmarc.{domain}", chance.choice(list(FailureKind)))
    identifiers = tuple(
        Identifier(chance.choice(list(AuthMechanism)), chance.choice(DOMAINS), chance.choice(list(MechanismOutcome)))
        for _ in range(11)
    )
    found = world.run(evaluate(Evidence(authors=(chance.choice(DOMAINS),), identifiers=identifiers)))
    if len(world.asked) > MAX_QUERIES * (1 + len(DOMAINS)) + 1:
        raise Unbounded(f"{len(world.asked)} questions")
    absent = found.reason.code is not DmarcCode.NO_POLICY  # the own record decides, whatever is above it (4.10.1)
    if found.result is DmarcResult.NONE and absent and any(each.failure for each in found.asked):
        raise Unbounded("a failed lookup became an absence")
    if found.result is DmarcResult.PASS and not found.aligned:
        raise Unbounded("a pass without an aligned identifier")
    return found.result.value


def author_case(chance: random.Random) -> str:
    """A From field of pieces."""
    value = "".join(chance.choices(FROM, k=chance.choice((3, 8, 30, 2_000))))
    try:
        domains = author_domains(split(b"From: " + value.encode("latin-1") + b"\r\n\r\n"))
    except NoAuthor:
        return "no author"
    return f"{min(len(domains), 2)} authors"


def results_case(chance: random.Random) -> str:
    """An Authentication-Results field of pieces; what claims to be ours is gone afterwards."""
    value = "".join(chance.choices(RESULTS, k=chance.choice((3, 8, 30, 5_000))))
    content = b"Authentication-Results: " + value.encode("latin-1") + b"\r\n\r\nbody"
    left, _ = without_forged(content, {"mx.test"})
    if without_forged(left, {"mx.test"})[1]:
        raise Unbounded("a forged field was left")
    try:
        parse(value)
    except InvalidResults:
        return "invalid results"
    return "results"


def report_case(chance: random.Random) -> str:
    """A report: damaged, made of pieces, a bomb, or with a document type; then perhaps packed and damaged again."""
    xml = chance.choice((_damaged_report, _pieces, _bomb, _with_entities))(chance)
    packed = chance.choice((_plain, gzip.compress, _zipped))(xml)
    if chance.random() < 0.3:
        packed = _damaged(packed, chance)
    try:
        report = read_report(packed)
    except InvalidReport:
        return "invalid report"
    if not report.policy.domain:
        raise Unbounded("a report without a policy domain")
    return "report"


def _plain(xml: bytes) -> bytes:
    return xml


def _zipped(xml: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("report.xml", xml)
    return file.getvalue()


def _damaged(data: bytes, chance: random.Random) -> bytes:
    octets = bytearray(data)
    for _ in range(chance.randrange(1, 5)):
        octets[chance.randrange(len(octets))] = chance.randrange(256)
    return bytes(octets[: chance.randrange(1, len(octets) + 1)] if chance.random() < 0.3 else octets)


def _damaged_report(chance: random.Random) -> bytes:
    return REPORT if chance.random() < 0.3 else _damaged(REPORT, chance)


def _pieces(chance: random.Random) -> bytes:
    return b"<feedback>" + b"".join(chance.choices(XML, k=chance.randrange(60))) + b"</feedback>"


def _bomb(chance: random.Random) -> bytes:
    if chance.random() < 0.995:  # there are only three large ones, and each takes up to a second
        return REPORT.replace(b"<record>", b"<record>" + chance.choice((b"<a>", b"<a/>")) * chance.randrange(5_000))
    return b"<feedback>" + chance.choice((b" ", b"<a>", b"<a/>")) * 1_000_000


def _with_entities(chance: random.Random) -> bytes:
    levels = "".join(f'<!ENTITY e{level + 1} "{f"&e{level};" * 10}">' for level in range(chance.randrange(1, 12)))
    kind = chance.choice(
        (f'<!ENTITY e0 "x">{levels}', '<!ENTITY e0 SYSTEM "file:///etc/passwd">', '<!ENTITY % e0 "x"> %e0;')
    )
    return f"<!DOCTYPE feedback [{kind}]>".encode() + REPORT.replace(b"a.test", b"&e0;")


CASES: tuple[Callable[[random.Random], str], ...] = (verdict_case, author_case, results_case, report_case)


def run(cases: int, seed: int, first: int = 0) -> Counter[str]:
    """Run the cases from `first` on; how they ended. Raises Unbounded with the case."""
    ended: Counter[str] = Counter()
    for number in range(first, first + cases):
        began = time.process_time()
        try:
            ended[CASES[number % len(CASES)](random.Random(f"{seed}:{number}"))] += 1
        except Exception as error:
            raise Unbounded(f"case {number} of seed {seed}: {error!r}") from error
        seconds = time.process_time() - began
        if seconds > MAX_CPU_SECONDS:
            raise Unbounded(f"case {number} took {seconds:.1f} s of CPU")
    return ended


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    arguments = parser.parse_args()
    ended = run(arguments.cases, arguments.seed, arguments.first)
    words = ", ".join(f"{count} {word}" for word, count in ended.most_common())
    print(f"{arguments.cases} cases, seed {arguments.seed}: {words}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
