"""Where reports go, and whom they are kept from (RFC 8460 section 3, RFC 9990 section 4)."""

import pytest

from letterlock.discover.report_addresses import MAX_DESTINATIONS, dmarc_addresses, tls_addresses
from letterlock.resolver.answer import FailureKind
from tests.mailauth.dns_world import FakeResolver, World

OWN, ELSEWHERE = "mailto:d@example.org", "mailto:d@collector.example"


def world(rua: str) -> World:
    return World().add("_dmarc.example.org", "TXT", f"v=DMARC1; p=none; rua={rua}")


async def found(made: World, domain: str = "example.org") -> tuple[str, ...] | None:
    return await dmarc_addresses(FakeResolver(made), domain)


async def test_tls_reports_go_where_the_record_says() -> None:
    made = World().add("_smtp._tls.example.org", "TXT", "v=TLSRPTv1; rua=mailto:a@x.example,https://x.example/v1")
    assert await tls_addresses(FakeResolver(made), "example.org") == ("mailto:a@x.example", "https://x.example/v1")
    assert await tls_addresses(FakeResolver(World()), "example.org") == ()
    many = ",".join(f"mailto:{number}@x.example" for number in range(9))
    made = World().add("_smtp._tls.example.org", "TXT", f"v=TLSRPTv1; rua={many}")
    assert len(await tls_addresses(FakeResolver(made), "example.org") or ()) == MAX_DESTINATIONS


@pytest.mark.parametrize("rua", [OWN, "mailto:d@reports.example.org"])
async def test_rfc9990_4_the_same_organization_needs_no_permission(rua: str) -> None:
    assert await found(world(rua)) == (rua,)


async def test_rfc9990_4_another_organization_must_want_them() -> None:
    assert await found(world(f"{OWN},{ELSEWHERE}")) == (OWN,)
    made = world(f"{OWN},{ELSEWHERE}").add("example.org._report._dmarc.collector.example", "TXT", "v=DMARC1;")
    assert await found(made) == (OWN, ELSEWHERE)


async def test_rfc9990_4_it_may_name_another_address_at_the_same_host() -> None:
    name = "example.org._report._dmarc.collector.example"
    made = world(ELSEWHERE).add(name, "TXT", "v=DMARC1; rua=mailto:other@collector.example")
    assert await found(made) == ("mailto:other@collector.example",)
    made = world(ELSEWHERE).add(name, "TXT", "v=DMARC1; rua=mailto:victim@victim.example")
    assert await found(made) == (ELSEWHERE,)


@pytest.mark.parametrize("kind", list(FailureKind))
async def test_what_cannot_be_found_out_is_no_permission(kind: FailureKind) -> None:
    assert await found(world(ELSEWHERE).fail("example.org._report._dmarc.collector.example", kind)) == ()


async def test_two_records_are_none_and_other_schemes_are_left_out() -> None:
    made = world(ELSEWHERE).add("example.org._report._dmarc.collector.example", "TXT", "v=DMARC1;", "v=DMARC1")
    assert await found(made) == ()
    assert await found(world("https://example.org/d,ftp://example.org")) == ()
    assert await found(World()) == ()


async def test_a_host_below_the_domain_that_is_another_organization_must_want_them_too() -> None:
    """The domain is a public suffix, say, and customers have names below it."""
    made = world("mailto:d@customer.example.org").add("_dmarc.example.org", "TXT")
    made.add("_dmarc.customer.example.org", "TXT", "v=DMARC1; p=none; psd=n")
    assert await found(made) == ()


@pytest.mark.parametrize("kind", list(FailureKind))
async def test_a_failed_lookup_of_the_record_is_not_an_absence(kind: FailureKind) -> None:
    assert await found(World().fail("_dmarc.example.org", kind)) is None
    assert await tls_addresses(FakeResolver(World().fail("_smtp._tls.example.org", kind)), "example.org") is None
