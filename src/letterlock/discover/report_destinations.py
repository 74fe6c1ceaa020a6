"""Where a domain wants TLS reports (RFC 8460 section 3). Not evidence for a decision: `check` shows it."""

import dns.rdatatype
from dns.rdtypes.ANY.TXT import TXT

from letterlock.mail.names import MAX_NAME_OCTETS, is_address_literal
from letterlock.ports import Resolver
from letterlock.resolver.answer import LookupFailure
from letterlock.tlsrpt import InvalidTLSRPTRecord, NoTLSRPTRecord, ReportAddresses, find_addresses

_LABELS = "_smtp._tls"


async def find_reporting(
    resolver: Resolver, domain: str
) -> ReportAddresses | NoTLSRPTRecord | InvalidTLSRPTRecord | LookupFailure | None:
    """The announcement of the domain; None for an address literal. Never raises for DNS."""
    if is_address_literal(domain):
        return None
    if len(f"{_LABELS}.{domain}") > MAX_NAME_OCTETS:
        return NoTLSRPTRecord()
    answer = await resolver.resolve(f"{_LABELS}.{domain}", dns.rdatatype.TXT)
    if isinstance(answer, LookupFailure):
        return answer
    return find_addresses([record.strings for record in answer.records if isinstance(record, TXT)])
