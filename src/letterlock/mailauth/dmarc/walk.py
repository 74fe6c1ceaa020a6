"""The DNS tree walk: which policy records stand at a domain and above it (RFC 9989 section 4.10)."""

from dataclasses import dataclass

import dns.rdatatype

from letterlock.mailauth.asking import Asked, Steps, question, txt_records
from letterlock.mailauth.dmarc.record import DmarcRecord, InvalidDmarcRecord, PublicSuffix, dmarc_records, parse_record
from letterlock.resolver.answer import LookupFailure

MAX_QUERIES = 8  # section 4.10: the domain itself, then at most seven labels
_TXT = dns.rdatatype.TXT


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """What a walk found, from the longest name to the shortest, up to the end that the standard sets.

    `failure` is the lookup at which the walk could not go on: what is above is unknown, and may be anything.
    `oddities` are sentences about records that do not count.
    """

    start: str
    found: tuple[tuple[str, DmarcRecord], ...]
    failure: LookupFailure | None = None
    asked: tuple[Asked, ...] = ()
    oddities: tuple[str, ...] = ()

    @property
    def own(self) -> DmarcRecord | None:
        """The record at the start itself."""
        return dict(self.found).get(self.start)

    @property
    def organizational_domain(self) -> str:
        """The organizational domain of the start (section 4.10.2), as far as the walk went."""
        for domain, record in self.found:
            if record.public_suffix is PublicSuffix.NO:
                return domain
            if record.public_suffix is PublicSuffix.YES and domain != self.start:
                return _one_below(domain, self.start)
        return self.found[-1][0] if self.found else self.start

    @property
    def policy(self) -> tuple[str, DmarcRecord] | None:
        """The record that applies and its domain: the start's, the organizational domain's, or the public suffix's."""
        records = dict(self.found)
        for domain in (self.start, self.organizational_domain):
            if domain in records:
                return domain, records[domain]
        suffix = self.found[-1] if self.found else None
        return suffix if suffix and suffix[1].public_suffix is PublicSuffix.YES else None


def names_of(domain: str) -> tuple[str, ...]:
    """The domains of a walk: itself, then from at most seven labels up to the top-level domain."""
    labels = domain.split(".")
    lengths = range(min(len(labels), MAX_QUERIES) - 1, 0, -1)
    return (domain, *(".".join(labels[-length:]) for length in lengths))


def walk(domain: str) -> Steps[Walk]:
    """Walk from a domain (lower-case A-labels) to its top-level domain. All names are asked for at once."""
    wanted = {name: question(f"_dmarc.{name}", _TXT) for name in names_of(domain)}
    answers = yield tuple(each for each in wanted.values() if each)
    asked: list[Asked] = []
    found: list[tuple[str, DmarcRecord]] = []
    oddities: list[str] = []
    failure = None
    for name, each in wanted.items():
        if each is None:
            continue
        answer = answers[each]
        asked.append(Asked.of(each, answer))
        if isinstance(answer, LookupFailure):
            failure = answer
            break
        record = _single(txt_records(answer), name, oddities)
        if record is not None:
            found.append((name, record))
            if record.public_suffix is not PublicSuffix.UNKNOWN:
                break
    return Walk(start=domain, found=tuple(found), failure=failure, asked=tuple(asked), oddities=tuple(oddities))


def _single(texts: tuple[bytes, ...], name: str, oddities: list[str]) -> DmarcRecord | None:
    """The policy record at a name; several count as none (section 4.10, steps 2 and 6)."""
    records = dmarc_records(texts)
    if len(records) > 1:
        oddities.append(f"_dmarc.{name} has {len(records)} policy records, which count as none")
    if len(records) != 1:
        return None
    try:
        return parse_record(records[0])
    except InvalidDmarcRecord as error:
        oddities.append(f"_dmarc.{name}: {error}")
        return None


def _one_below(domain: str, start: str) -> str:
    labels = start.split(".")
    return ".".join(labels[-(domain.count(".") + 2) :])
