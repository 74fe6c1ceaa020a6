"""Drive our resolver with conversations that Unbound's authors recorded (their `testdata/val_*.rpl`).

    python -m tests.agreement.recorded unbound-1.17.1/testdata/val_*.rpl

A recording holds what authoritative servers said. Here they are put together to what a forwarder would answer, and what
ours makes of it is compared with what the recording demands: AD, an answer without AD, or SERVFAIL. The recordings are
Unbound's and are not kept here; Debian's source package of it has them.
Exit status 0: no disagreement that is not listed.
"""

import argparse
import asyncio
import calendar
import hashlib
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from dns.dnssecalgs.base import GenericPublicKey
from dns.message import Message
from dns.name import Name
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.nsbase import NSBase
from dns.rrset import RRset

from letterlock.resolver import ALGORITHMS, Answer, LookupFailure, NegativeAnchor, Resolver, signatures

DSA = frozenset({3, 6})  # half of the recordings are signed with it; ours takes it when asked to
MAX_LINKS = 12
RRSIG_WORDS = 13
FAR = 4e9
_META = "RFC 8482: questions for ANY and RRSIG are not asked; mail needs neither"
_ITERATIONS = "RFC 9276 section 3.2: recorded with a limit of 100 iterations and insecure above; ours is 150 and fails"
LISTED = {
    "val_any.rpl": _META,
    "val_any_cname.rpl": _META,
    "val_any_dname.rpl": _META,
    "val_nsec3_wcany.rpl": _META,
    "val_nsec3_wcany_nodeny.rpl": _META,
    "val_rrsig.rpl": _META,
    "val_anchor_nx_nosig.rpl": "RFC 4035 section 5: a zone with a trust anchor is signed, whoever denies it",
    "val_faildnskey_ok.rpl": "RFC 4035 section 5: recorded with harden-dnssec-stripped off",
    "val_ta_algo_missing.rpl": "RFC 6840 section 5.11: one valid path is enough; recorded with harden-algo-downgrade",
    "val_nsec3_iter_high.rpl": _ITERATIONS,
    "val_nx_nsec3_collision.rpl": _ITERATIONS,
    "val_nx_nsec3_params.rpl": _ITERATIONS,
}
_read_key = signatures._public_key  # what is patched, for all algorithms but DSA
_ALIASES = (RdataType.CNAME, RdataType.DNAME)


class PlainDSA:
    """A DSA key of any size (RFC 2536), since the library refuses the sizes that the recordings have."""

    def __init__(self, key: bytes) -> None:
        size = 64 + key[0] * 8
        self.q, self.p, self.g, self.y = (
            int.from_bytes(key[start : start + octets])
            for start, octets in ((1, 20), (21, size), (21 + size, size), (21 + 2 * size, size))
        )

    def verify(self, signature: bytes, data: bytes) -> None:
        """Raises InvalidSignature."""
        if len(signature) == 41:
            r, s = int.from_bytes(signature[1:21]), int.from_bytes(signature[21:])
        else:  # an old fault of the recording tool: ASN.1
            r, s = decode_dss_signature(signature)
        digest = int.from_bytes(hashlib.sha1(data, usedforsecurity=False).digest())
        inverse = pow(s, -1, self.q)
        made = pow(self.g, digest * inverse % self.q, self.p) * pow(self.y, r * inverse % self.q, self.p)
        if made % self.p % self.q != r:
            raise InvalidSignature


def public_key(key: DNSKEY) -> PlainDSA | GenericPublicKey | None:
    """The product's own reader of keys, and DSA."""
    return PlainDSA(key.key) if key.algorithm in DSA else _read_key(key)


@dataclass
class Entry:
    """One recorded message."""

    flags: list[str] = field(default_factory=list)
    match: list[str] = field(default_factory=list)
    question: tuple[Name, RdataType] = (dns.name.root, RdataType.NONE)
    sections: dict[str, list[str]] = field(default_factory=dict)

    def rrsets(self, section: str) -> list[RRset]:
        """The records of a section. Raises DNSException."""
        message = dns.message.from_text(
            "id 1\nopcode QUERY\n;ANSWER\n" + "\n".join(self.sections.get(section, [])),
            origin=dns.name.root,
            relativize=False,
        )
        return list(message.answer)

    def answers(self, name: Name, rdtype: RdataType) -> bool:
        """Whether the recording means this message for a question."""
        if "subdomain" in self.match:
            return name.is_subdomain(self.question[0])
        return self.question == (name, rdtype)

    def delegates(self, name: Name) -> bool:
        """Whether this is the referral to a zone."""
        return self.referral and any(
            each.name == name and each.rdtype == RdataType.NS for each in self.rrsets("AUTHORITY")
        )

    def as_ds(self) -> "Entry | None":
        """What a referral says of a zone's DS records, since recursion learns them there."""
        texts = [text for text in self.sections.get("AUTHORITY", ()) if text.split()[3] != "NS"]
        ds = [text for text in texts if text.split()[3] == "DS" or text.split()[3:5] == ["RRSIG", "DS"]]
        rest = [text for text in texts if text not in ds]
        return Entry(flags=["NOERROR"], sections={"ANSWER": ds, "AUTHORITY": rest}) if texts else None

    @property
    def referral(self) -> bool:
        """A delegation and not an answer."""
        types = {each.rdtype for each in self.rrsets("AUTHORITY")}
        return not self.sections.get("ANSWER") and RdataType.NS in types and RdataType.SOA not in types


@dataclass
class Step:
    """A question, and what has to come of it."""

    question: Entry
    wanted: Entry | None = None
    at: int = 0


@dataclass
class Recording:
    """One file."""

    name: str
    anchors: list[str] = field(default_factory=list)
    insecure: list[str] = field(default_factory=list)
    date: float = 0.0
    first: set[str] = field(default_factory=set)
    entries: list[tuple[tuple[int, int, str], Entry]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)


def read(path: Path) -> Recording:
    """Read a file. Raises DNSException and ValueError."""
    made = Recording(path.name)
    lines = iter(path.read_text().splitlines())
    span = 0, 1 << 30, ""
    for line in lines:
        words = line.split(";")[0].split()
        match words[:1]:
            case ["trust-anchor:"]:
                made.anchors.append(line.split('"')[1])
            case ["domain-insecure:"]:
                made.insecure.append(words[1].strip('"'))
            case ["val-override-date:"] if "-1" not in words[1]:
                made.date = calendar.timegm(time.strptime(line.split('"')[1], "%Y%m%d%H%M%S"))
            case ["RANGE_BEGIN"]:
                span = int(words[1]), int(words[2]), ""
            case ["ADDRESS"]:
                span = *span[:2], words[1]
            case ["stub-addr:" | "forward-addr:"]:
                made.first.add(words[1])
            case ["ENTRY_BEGIN"]:
                made.entries.append((span, _entry(lines)))
            case ["STEP"] if "QUERY" in words[2]:
                next(lines)
                made.steps.append(Step(_entry(lines), at=int(words[1])))
            case ["STEP"] if "CHECK_ANSWER" in words[2]:
                next(lines)
                made.steps[-1].wanted = _entry(lines)
    made.date = made.date or _within(made)
    return made


def _within(recording: Recording) -> float:
    """A moment at which the signatures are valid, for a recording that does not look at the time."""
    every = (line.split() for _, entry in recording.entries for lines in entry.sections.values() for line in lines)
    return max(calendar.timegm(time.strptime(words[9], "%Y%m%d%H%M%S")) for words in every if words[3] == "RRSIG") + 1


def _entry(lines: Iterator[str]) -> Entry:
    made, section = Entry(), ""
    for line in lines:
        words = line.split(";")[0].split()
        match words[:1]:
            case ["ENTRY_END"]:
                break
            case ["MATCH"]:
                made.match += words[1:]
            case ["REPLY"]:
                made.flags += words[1:]
            case ["SECTION"]:
                section = words[1]
            case ["ADJUST" | "ENTRY_BEGIN"] | []:
                pass
            case _ if section == "QUESTION":
                made.question = dns.name.from_text(words[0]), RdataType.from_text(words[-1])
            case _:
                while line.split(";")[0].count("(") > line.split(";")[0].count(")"):
                    line = line.split(";")[0] + " " + next(lines)  # a record may go on
                made.sections.setdefault(section, []).append(_absolute(line))
    return made


def _absolute(line: str) -> str:
    """A record as the library reads it: a TTL and a class are always there."""
    words = line.split(";", maxsplit=1)[0].replace("(", " ").replace(")", " ").split()
    words[0] = words[0].rstrip(".") + "."
    if not words[1].isdigit():
        words.insert(1, "3600")
    if words[2] != "IN":
        words.insert(2, "IN")
    if words[3] == "RRSIG" and len(words) == RRSIG_WORDS - 1:
        words.append("AA==")  # an empty signature cannot be written; neither holds
    return " ".join(words)


class Forwarder:
    """A recursive resolver that knows the recorded messages, at one moment of the recording."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.moment = 0

    async def answer(self, wire: bytes, tcp: bool) -> bytes:
        """The transport."""
        query = dns.message.from_wire(wire)
        response = dns.message.make_response(query, recursion_available=True)
        name, rdtype = query.question[0].name, query.question[0].rdtype
        for _ in range(MAX_LINKS):
            found = self._find(name, rdtype)
            if found is None:
                response.set_rcode(dns.rcode.SERVFAIL)
                break
            _add(response, found)
            following = _target(response, name, rdtype)
            if following is None or any(each.name == following for each in found.rrsets("ANSWER")):
                break
            name = following
        return response.to_wire(max_size=65_535)

    def _find(self, name: Name, rdtype: RdataType) -> Entry | None:
        """What the servers of the closest zone say, or those above. None where the recording has nothing."""
        cuts = {dns.name.root: self.recording.first, **self._delegations()}
        around = [cut for cut in cuts if name.is_subdomain(cut) and (cut != name or rdtype != RdataType.DS)]
        for cut in sorted(around, key=len, reverse=True):
            entries = [entry for address, entry in self._current() if address in ("", *cuts[cut])]
            told = [entry for entry in entries if entry.answers(name, rdtype) and not entry.referral]
            learnt = [made for entry in entries if entry.delegates(name) and (made := entry.as_ds())]
            if told or (learnt and rdtype == RdataType.DS):
                return [*told, *learnt][0]
        return None

    def _current(self) -> list[tuple[str, Entry]]:
        every = self.recording.entries
        return [(address, entry) for (first, last, address), entry in every if first <= self.moment <= last]

    def _delegations(self) -> dict[Name, set[str]]:
        """The zone cuts and the addresses of their servers, by glue or by any record of those."""
        every = [line.split() for _, entry in self._current() for lines in entry.sections.values() for line in lines]
        found: dict[Name, set[str]] = {}
        for _, entry in self._current():
            for rrset in entry.rrsets("AUTHORITY") if entry.referral else ():
                servers = {each.to_text().rpartition(" ")[2] for each in rrset if each.rdtype == RdataType.NS}
                addresses = {words[4] for words in every if words[3] == "A" and words[0] in servers}
                found.setdefault(rrset.name, set()).update(addresses)
        return found


def _add(response: Message, found: Entry) -> None:
    response.answer += [each for each in found.rrsets("ANSWER") if each not in response.answer]
    response.authority = [each for each in found.rrsets("AUTHORITY") if each.rdtype != RdataType.NS] + [
        each for each in response.authority if each.rdtype not in (RdataType.SOA, RdataType.NS)
    ]
    response.additional += [each for each in found.rrsets("ADDITIONAL") if each.rdtype == RdataType.RRSIG]
    rcode = next((flag for flag in found.flags if flag in ("NXDOMAIN", "SERVFAIL", "REFUSED")), "NOERROR")
    response.set_rcode(dns.rcode.from_text(rcode))


def _target(response: Message, name: Name, rdtype: RdataType) -> Name | None:
    """Where the aliases of a response lead, when they lead somewhere that is not answered yet."""
    seen = set()
    while name not in seen:
        seen.add(name)
        if any(each.name == name and each.rdtype == rdtype for each in response.answer) or rdtype in _ALIASES:
            return None
        alias = next((each for each in response.answer if (each.name, each.rdtype) == (name, RdataType.CNAME)), None)
        if alias is None:
            break
        record = alias[0]
        assert isinstance(record, NSBase)
        name = record.target
    return name if len(seen) > 1 else None


def wanted_of(entry: Entry) -> str:
    """What the recording demands: secure, unproven or failed."""
    if not {"SERVFAIL", "YXDOMAIN"}.isdisjoint(entry.flags):
        return "failed"
    found = "nxdomain" if "NXDOMAIN" in entry.flags else "noerror"
    return f"{'secure' if 'AD' in entry.flags else 'unproven'} {found}"


def got_of(result: Answer | LookupFailure) -> str:
    """Ours in the same words."""
    if isinstance(result, LookupFailure):
        return "failed"
    absence = result.absence.value if result.absence else ""
    return f"{'secure' if result.secure else 'unproven'} {'nxdomain' if absence == 'nxdomain' else 'noerror'}"


async def replay(recording: Recording) -> list[str]:
    """Every disagreement, as a sentence."""
    forwarder = Forwarder(recording)
    negative = [
        NegativeAnchor(zone=dns.name.from_text(zone), reason="recorded", until=FAR) for zone in recording.insecure
    ]
    resolver = Resolver(
        forwarder.answer,
        anchors=recording.anchors,
        now=recording.date,
        algorithms=ALGORITHMS | DSA,
        negative_anchors=negative,
    )
    wrong = []
    for step in recording.steps:
        forwarder.moment = step.at
        if step.wanted is None or "RD" not in step.question.flags:
            continue  # a look into the cache
        name, rdtype = step.question.question
        result = await resolver.resolve(name, rdtype)
        wanted, got = wanted_of(step.wanted), got_of(result)
        if "CD" in step.question.flags or not {"DO", "AD"}.intersection(step.question.flags):
            got = got.replace("secure", "unproven")  # AD was not asked for
        if wanted != got:
            detail = f" ({result.detail})" if isinstance(result, LookupFailure) else ""
            wrong.append(f"{name} {dns.rdatatype.to_text(rdtype)}: recorded {wanted}, ours {got}{detail}")
    return wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    given = parser.parse_args(arguments)
    unlisted = 0
    for path in given.files:
        try:
            with patch.object(signatures, "_public_key", public_key):
                wrong = asyncio.run(replay(read(path)))
        except (dns.exception.DNSException, ValueError) as error:
            wrong = [f"{type(error).__name__}: {error}"]
        for each in wrong:
            why = LISTED.get(path.name)
            unlisted += why is None
            print(f"{'DISAGREE' if why is None else 'listed  '} {path.name}: {each}{f' [{why}]' if why else ''}")
    print(f"{len(given.files)} recordings, {unlisted} disagreements that are not listed")
    return 0 if not unlisted else 1


if __name__ == "__main__":
    sys.exit(main())
