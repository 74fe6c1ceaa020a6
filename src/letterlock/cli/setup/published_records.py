"""Compares the records that a server should have with those that DNS has, validated."""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import dns.rdata
import dns.rdataclass
import dns.rdatatype
from dns.rdtypes.ANY.TXT import TXT

from letterlock.app.resolving import validated_dns
from letterlock.cli.setup.server_plan import DnsRecord
from letterlock.config import ResolverOptions
from letterlock.resolver import Answer


@dataclass(frozen=True, slots=True)
class PublishedRecord:
    """One record. `level`: ok; warning, where it is missing and mail works without it; error."""

    level: str
    text: str


def compare(wanted: Iterable[DnsRecord], options: ResolverOptions) -> list[PublishedRecord]:
    """Look each of them up. Raises StartFailed, ValueError."""
    return asyncio.run(_compare([*wanted], options))


async def _compare(wanted: list[DnsRecord], options: ResolverOptions) -> list[PublishedRecord]:
    async with validated_dns(options) as asked:
        answers = await asyncio.gather(*(asked.resolver.resolve(each.name, _type(each)) for each in wanted))
    return [_judged(each, answer) for each, answer in zip(wanted, answers, strict=True)]


def _type(record: DnsRecord) -> dns.rdatatype.RdataType:
    return dns.rdatatype.from_text(record.rdtype)


def _judged(record: DnsRecord, answer: object) -> PublishedRecord:
    name = f"{record.name} {record.rdtype}"
    if not isinstance(answer, Answer):
        return PublishedRecord("error", f"{name} could not be looked up: {getattr(answer, 'detail', answer)}")
    found = [*_texts(answer)]
    if _normal(record) in found:
        if record.rdtype == "TLSA" and not answer.secure:
            return PublishedRecord("warning", f"{name} is published, but the zone is not signed: DANE ignores it")
        return PublishedRecord("ok", f"{name} is published")
    level = "error" if record.needed else "warning"
    others = [each for each in found if record.rdtype != "TXT" or each[:6] == record.data[:6]]
    seen = f"; published is: {'; '.join(others)}" if others else ""
    return PublishedRecord(level, f"{name} is missing: {record.data}{seen}")


def _texts(answer: Answer) -> Iterator[str]:
    for rdata in answer.records:
        yield _text(rdata)


def _text(rdata: dns.rdata.Rdata) -> str:
    if isinstance(rdata, TXT):
        return b"".join(rdata.strings).decode("utf-8", "backslashreplace")
    return rdata.to_text().lower()


def _normal(record: DnsRecord) -> str:
    """As `_text` has it."""
    if record.rdtype == "TXT":
        return record.data
    return dns.rdata.from_text(dns.rdataclass.IN, _type(record), record.data).to_text().lower()
