"""Finding where a domain wants TLS reports (RFC 8460 section 3)."""

import dns.rdatatype

from letterlock.discover.report_destinations import find_reporting
from letterlock.resolver.answer import Answer, LookupFailure
from letterlock.tlsrpt import NoTLSRPTRecord, ReportAddresses
from tests.policy.evidence import answer, failure


class Dns:
    """One answer, and what was asked."""

    def __init__(self, given: Answer | LookupFailure) -> None:
        self.given = given
        self.asked: list[tuple[str, str]] = []

    async def resolve(self, name: str, rdtype: dns.rdatatype.RdataType) -> Answer | LookupFailure:
        self.asked.append((name, rdtype.name))
        return self.given


async def test_rfc8460_3_the_record_is_asked_for_below_the_domain() -> None:
    dns_ = Dns(answer("_smtp._tls.example.org", "TXT", '"v=TLSRPTv1; rua=mailto:tls@example.org"'))
    assert await find_reporting(dns_, "example.org") == ReportAddresses(("mailto:tls@example.org",))
    assert dns_.asked == [("_smtp._tls.example.org", "TXT")]


async def test_a_lookup_that_failed_is_no_absence() -> None:
    failed = failure("_smtp._tls.example.org", "TXT")
    assert await find_reporting(Dns(failed), "example.org") is failed


async def test_neither_an_address_nor_a_name_without_room_is_asked_for() -> None:
    dns_ = Dns(failure("example.org", "TXT"))
    assert await find_reporting(dns_, "[192.0.2.1]") is None
    assert await find_reporting(dns_, ".".join(["a" * 60] * 4)) == NoTLSRPTRecord()
    assert dns_.asked == []
