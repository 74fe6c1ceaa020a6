"""However a destination is spelled, it meets the same rule and the same route (RFC 5321 4.1.3, RFC 5890, RFC 5952)."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.cli.check.domains import parse_domain
from letterlock.config import parse
from letterlock.mail.addresses import InvalidAddress, parse_mailbox
from letterlock.mail.names import InvalidName, literal_address, normalise
from letterlock.routing.destination_rule import TlsRule
from letterlock.routing.routes import RelayHost
from letterlock.routing.rules import Rules
from tests.policy.evidence import rule

NAMES = ("example.org", "mail.bücher.example", "xn--bcher-kva.example", "faß.de", "例え.テスト")


@st.composite
def spelled_names(draw: st.DrawFn, name: str) -> str:
    """A domain in any case, as U-labels or A-labels, with any of the dots of UTS 46, and maybe one at the end."""
    ascii_name = normalise(name)
    text = draw(st.sampled_from([name, ascii_name]))
    text = "".join(draw(st.sampled_from([each.lower(), each.upper()])) if each.isascii() else each for each in text)
    dots = ".．。｡" if not text.isascii() else "."  # UTS 46 maps the other three to the first
    text = "".join(draw(st.sampled_from(dots)) if each == "." else each for each in text)
    end: str = draw(st.sampled_from(["", *dots]))
    return text + end


@st.composite
def spelled_addresses(draw: st.DrawFn, address: ipaddress.IPv6Address) -> str:
    """An IPv6 literal: zeros left out or not, the tail as IPv4 or not, in any case."""
    groups = address.exploded.split(":")
    shortened = ":".join(draw(st.sampled_from([each, each.lstrip("0") or "0"])) for each in groups)
    tail = str(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    text = draw(st.sampled_from([str(address), address.exploded, shortened, ":".join((*groups[:6], tail))]))
    text = "".join(draw(st.sampled_from([each.lower(), each.upper()])) for each in text)
    return f"[{draw(st.sampled_from(['IPv6', 'ipv6', 'IPV6']))}:{text}]"


def assert_same_rule(written: str, spelled: str) -> None:
    """What is written for one spelling holds for mail to the other, through an address, a list, a rule and a route."""
    domain = parse_mailbox(f"ann@{spelled}").domain
    assert domain == parse_mailbox(f"ann@{written}").domain == parse_domain(spelled)
    rules = Rules({written: rule(TlsRule.VERIFY)}, {}, {written: RelayHost(domain="relay.example", source="x")})
    for name in (domain, spelled):
        assert rules.for_next_hop(name) is not None
        assert rules.relay_for(name) is not None


@given(data=st.data(), name=st.sampled_from(NAMES))
def test_any_two_spellings_of_a_domain_meet_the_same_rule(data: st.DataObject, name: str) -> None:
    one, other = data.draw(spelled_names(name)), data.draw(spelled_names(name))
    assert_same_rule(one, other)
    below = Rules({f"*.{one}": rule(TlsRule.VERIFY)})
    assert below.for_next_hop(f"mx.{other}") is not None
    assert below.for_next_hop(other) is None


@given(data=st.data(), number=st.integers(0, (1 << 128) - 1) | st.integers(0, 1 << 32))
def test_rfc5952_any_two_spellings_of_an_address_literal_meet_the_same_rule(data: st.DataObject, number: int) -> None:
    address = ipaddress.IPv6Address(number)
    assert_same_rule(data.draw(spelled_addresses(address)), data.draw(spelled_addresses(address)))


@given(data=st.data(), number=st.integers(0, (1 << 32) - 1))
def test_rfc4291_2_5_5_2_ipv4_inside_of_ipv6_is_the_same_destination(data: st.DataObject, number: int) -> None:
    inner = ipaddress.IPv4Address(number)
    mapped = data.draw(spelled_addresses(ipaddress.IPv6Address((0xFFFF << 32) | number)))
    assert_same_rule(f"[{inner}]", mapped)
    assert literal_address(mapped) == str(inner)


@given(data=st.data(), number=st.integers(0, (1 << 128) - 1))
def test_the_configuration_is_read_the_same_way(data: st.DataObject, number: int) -> None:
    address = ipaddress.IPv6Address(number)
    one, other, third = (data.draw(spelled_addresses(address)) for _ in range(3))
    text = f'[domain."{one}"]\ntls = "verify"\nfingerprints = ["{"0f" * 32}"]\n'
    text += f'[route."old.example"]\nnext_hop = "{other}"\n[route."lists.example"]\nnext_hop = "lmtp:{third}:24"\n'
    rules = parse(text, "letterlock.toml").rules
    for domain in (parse_mailbox(f"ann@{third}").domain, "old.example", "lists.example"):
        found = rules.for_message(domain, None).rule
        if domain == "lists.example" and found is None:
            assert address.is_loopback or (address.ipv4_mapped is not None and address.ipv4_mapped.is_loopback)
            continue
        assert found is not None
        assert found.tls is TlsRule.VERIFY


@pytest.mark.parametrize("text", ["a@[IPv6:fe80::1%lo]", "a@[IPv6:fe80::1%251]", "a@[ipv6:fe80::1%eth0]"])
def test_rfc5321_4_1_3_an_address_literal_has_no_zone(text: str) -> None:
    with pytest.raises(InvalidAddress, match="zone"):
        parse_mailbox(text)


@pytest.mark.parametrize("text", ["", ".", "。", "a..b", "example..", "[", "[IPv6:]", "[2001:db8::1]"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidName):
        parse_domain(text)
