"""Where reports go: what domains publish, and whether a destination elsewhere wants them (RFC 9990 section 4)."""

import dns.rdatatype

from letterlock.discover.authentication import answered
from letterlock.discover.report_destinations import find_reporting
from letterlock.mail.addresses import InvalidAddress, parse_mailbox
from letterlock.mail.names import MAX_NAME_OCTETS
from letterlock.mailauth.asking import txt_records
from letterlock.mailauth.dmarc.record import DmarcRecord, InvalidDmarcRecord, dmarc_records, parse_record
from letterlock.mailauth.dmarc.walk import walk
from letterlock.ports import Resolver
from letterlock.resolver.answer import LookupFailure
from letterlock.tlsrpt.record import ReportAddresses

MAX_DESTINATIONS = 3  # of one domain: two are common; a record must not make us send to anybody many times


async def tls_addresses(resolver: Resolver, domain: str) -> tuple[str, ...] | None:
    """The URIs that a domain, or an MX host, wants TLS reports at; None where that cannot be found out now."""
    found = await find_reporting(resolver, domain)
    if isinstance(found, LookupFailure):
        return None
    return found.uris[:MAX_DESTINATIONS] if isinstance(found, ReportAddresses) else ()


async def dmarc_addresses(resolver: Resolver, domain: str) -> tuple[str, ...] | None:
    """The mailto: URIs that a policy domain wants aggregate reports at, and that want them; None as above.

    A destination elsewhere whose permission cannot be found out has not given it.
    """
    own = await answered(walk(domain), resolver)
    record = own.own
    if record is None and own.failure is not None:
        return None
    found: list[str] = []
    for uri in record.report_addresses[:MAX_DESTINATIONS] if record else ():
        host = _host(uri)
        if host is None:
            continue
        if await _is_ours(resolver, own.organizational_domain, host):
            found.append(uri)
        else:
            found += await _verified(resolver, domain, host, uri)
    return tuple(dict.fromkeys(found))


def _host(uri: str) -> str | None:
    scheme, _, rest = uri.partition(":")
    if scheme.lower() != "mailto":
        return None  # no other is defined
    try:
        return parse_mailbox(rest.partition("?")[0]).domain
    except InvalidAddress:  # an address that nobody can send to
        return None


async def _is_ours(resolver: Resolver, organization: str, host: str) -> bool:
    """Whether a host belongs to the same organization as the policy."""
    if host == organization:
        return True
    if not host.endswith(f".{organization}"):
        return False
    return (await answered(walk(host), resolver)).organizational_domain == organization


async def _verified(resolver: Resolver, domain: str, host: str, uri: str) -> tuple[str, ...]:
    """The URI, or the one that the host prefers, if the host says that it takes reports about the domain."""
    name = f"{domain}._report._dmarc.{host}"
    if len(name) > MAX_NAME_OCTETS:
        return ()
    answer = await resolver.resolve(name, dns.rdatatype.TXT)
    if isinstance(answer, LookupFailure):
        return ()
    records = dmarc_records(txt_records(answer))
    if len(records) != 1:
        return ()
    return _preferred(records[0], host) or (uri,)


def _preferred(text: bytes, host: str) -> tuple[str, ...]:
    try:
        record: DmarcRecord = parse_record(text)
    except InvalidDmarcRecord:
        return ()
    return tuple(each for each in record.report_addresses[:MAX_DESTINATIONS] if _host(each) == host)
