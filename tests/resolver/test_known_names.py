"""Names and records that are made the short way are what dnspython makes of the same octets."""

import copy
import tracemalloc

import dns.name
import dns.rdata
import dns.rdataclass
import pytest
from dns.rdata import GenericRdata, Rdata
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from hypothesis import given
from hypothesis import strategies as st

from letterlock.resolver.known_names import MAX_NAME_OCTETS, KnownName, ancestor, as_known, from_text, known
from letterlock.resolver.rdata import read_rdata
from letterlock.resolver.signatures import key_tag
from letterlock.resolver.wire import Names

LABELS = st.lists(st.sampled_from([b"a", b"A", b"b", b"mx", b"MX", b"*", b"_25", b"\x00.\\", b"\xff"]), max_size=5)
NAMES = st.one_of(LABELS.map(lambda labels: (*labels, b"")), LABELS.map(tuple))


def plain(labels: tuple[bytes, ...]) -> dns.name.Name:
    """dnspython's own."""
    return dns.name.Name(labels)


@given(LABELS, NAMES)
def test_a_known_name_is_as_good_as_any_name_of_its_labels(mine: list[bytes], others: tuple[bytes, ...]) -> None:
    ours, theirs = known((*mine, b"")), plain((*mine, b""))
    other = plain(others)
    assert ours == theirs
    assert theirs == ours
    assert hash(ours) == hash(theirs)
    for one in (other, as_known(other)) if other.is_absolute() else (other,):
        assert (ours == one, one == ours, ours != one) == (theirs == other, other == theirs, theirs != other)
        assert (ours < one, ours > one, one < ours) == (theirs < other, theirs > other, other < theirs)
        assert (ours <= one, ours >= one, one <= ours) == (theirs <= other, theirs >= other, other <= theirs)
        assert ours.is_subdomain(one) == theirs.is_subdomain(other)
        assert one.is_subdomain(ours) == other.is_subdomain(theirs)
        assert ours.fullcompare(one) == theirs.fullcompare(other)
    assert ours.to_wire() == theirs.to_wire()
    assert ours.to_wire(canonicalize=True) == ours.to_digestable() == theirs.to_digestable()
    assert (str(ours), ours.to_text(omit_final_dot=True)) == (str(theirs), theirs.to_text(omit_final_dot=True))
    assert ours.canonicalize().labels == theirs.canonicalize().labels
    assert ours.is_absolute()
    assert ours.is_wild() == theirs.is_wild()
    assert len(ours) == len(theirs)
    assert [ancestor(ours, count).labels for count in range(1, len(ours) + 1)] == [
        theirs.split(count)[1].labels for count in range(1, len(ours) + 1)
    ]
    make, arguments = ours.__reduce__()
    assert make(*arguments) == ours == copy.deepcopy(ours)
    if mine:
        assert ours.parent().labels == theirs.parent().labels


def test_a_name_in_lower_case_keeps_nothing_twice() -> None:
    """A busy worker remembers thousands of them; the labels, one object each, are half of it."""
    make = known.__wrapped__  # the cache, which other tests fill, is not what is measured
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        made = [make((b"mx", b"d%d" % number, b"example", b"")) for number in range(1000)]
        octets = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert octets / len(made) < 400
    assert all(name.to_wire() is name.to_digestable() for name in made)


def test_the_root_has_no_parent_and_nothing_can_be_changed() -> None:
    with pytest.raises(dns.name.NoParent):
        known((b"",)).parent()
    with pytest.raises(TypeError):
        known((b"",)).labels = (b"org", b"")


@pytest.mark.parametrize(
    "text", ["example.org", "example.org.", "MX.Example.ORG", "_25._tcp.mx", ".", "a\\.b.org", "bücher.example", "*.x"]
)
def test_a_name_is_read_from_text_as_dnspython_reads_it(text: str) -> None:
    assert from_text(text).labels == dns.name.from_text(text).labels


@pytest.mark.parametrize(
    "text", ["", "a..b", "x" * 64 + ".org", ".".join(["x" * 63] * 4), ".".join(["ab"] * 90)], ids=range(5)
)
def test_text_that_is_no_name_is_refused_as_dnspython_refuses_it(text: str) -> None:
    try:
        expected: object = dns.name.from_text(text).labels
    except dns.exception.DNSException as error:
        expected = type(error)
    try:
        found: object = from_text(text).labels
    except dns.exception.DNSException as error:
        found = type(error)
    assert found == expected


def test_rfc1035_2_3_4_a_name_has_255_octets_at_most() -> None:
    longest = (b"x" * 63, b"x" * 63, b"x" * 63, b"x" * 61, b"")
    assert len(known(longest).to_wire() or b"") == MAX_NAME_OCTETS
    with pytest.raises(dns.name.NameTooLong):
        known((b"x" * 63, b"x" * 63, b"x" * 63, b"x" * 62, b""))


WIRE_NAME = b"\x02Mx\x07example\x00"
RRSIG_HEAD = bytes.fromhex("000f 0d 02 00000e10 6a000000 69000000 1234")
RECORDS = {
    RdataType.MX: b"\x00\x0a" + WIRE_NAME,
    RdataType.A: b"\xc0\x00\x02\x01",
    RdataType.SOA: WIRE_NAME + WIRE_NAME + bytes(range(20)),
    RdataType.RRSIG: RRSIG_HEAD + WIRE_NAME + b"\x55" * 64,
    RdataType.DNSKEY: b"\x01\x01\x03\x0d" + b"\x77" * 64,
    RdataType.DS: b"\x12\x34\x0d\x02" + b"\x88" * 32,
    RdataType.NSEC: WIRE_NAME + b"\x00\x07\x62\x01\x80\x08\x00\x03\x80" + b"\x01\x01\x40",
    RdataType.NSEC3: b"\x01\x01\x00\x0a\x02\xab\x0d" + b"\x14" + b"\x66" * 20 + b"\x00\x01\x62\x01\x02\x01\x40",
    RdataType.TLSA: b"\x03\x01\x01" + b"\x99" * 32,
    RdataType.AAAA: bytes.fromhex("20010db8 00000000 00010000 00000001"),
    RdataType.TXT: b"\x04v=ST\x00\x03id=",
}


def dnspythons(rdtype: RdataType, octets: bytes) -> Rdata:
    """What dnspython makes of RDATA; opaque where it cannot read it."""
    try:
        return dns.rdata.from_wire(dns.rdataclass.IN, rdtype, octets, 0, len(octets))
    except (dns.exception.DNSException, ValueError):
        return GenericRdata(dns.rdataclass.IN, rdtype, octets)


@given(
    st.sampled_from(sorted(RECORDS)),
    st.integers(0, 90),
    st.binary(max_size=3),
    st.one_of(st.none(), st.tuples(st.integers(0, 89), st.integers(0, 255))),
)
def test_a_record_is_read_as_dnspython_reads_it(
    rdtype: RdataType, cut: int, more: bytes, change: tuple[int, int] | None
) -> None:
    octets = bytearray(RECORDS[rdtype][:cut] + more)
    if change is not None and change[0] < len(octets):
        octets[change[0]] = change[1]
    wire = bytes(octets)
    if any(octet >= 0xC0 for octet in wire) and rdtype is not RdataType.A:
        return  # dnspython would follow a pointer into the RDATA, which is no message
    record, canonical = read_rdata(Names(wire), rdtype, 0, len(wire))
    expected = dnspythons(rdtype, wire)
    assert record == expected
    assert record.to_wire() == expected.to_wire()
    assert str(record) == str(expected)
    assert isinstance(record, type(expected))
    assert isinstance(expected, GenericRdata) or canonical == expected.to_digestable(dns.name.root)


@given(st.lists(st.sampled_from([b"\0\0", b"\0\1", b"\xff\xff", b"\x20\x01"]), min_size=8, max_size=8))
def test_rfc5952_4_an_ipv6_address_is_written_as_dnspython_writes_it(groups: list[bytes]) -> None:
    octets = b"".join(groups)
    assert read_rdata(Names(octets), RdataType.AAAA, 0, 16)[0] == dnspythons(RdataType.AAAA, octets)
    assert str(read_rdata(Names(octets), RdataType.AAAA, 0, 16)[0]) == str(dnspythons(RdataType.AAAA, octets))


@given(st.binary(min_size=4, max_size=40))
def test_rfc4034_b_a_key_of_any_octets_has_the_tag_that_dnspython_gives_it(octets: bytes) -> None:
    ours, theirs = read_rdata(Names(octets), RdataType.DNSKEY, 0, len(octets))[0], dnspythons(RdataType.DNSKEY, octets)
    assert isinstance(ours, DNSKEY)
    assert isinstance(theirs, DNSKEY)
    assert (key_tag(ours), ours.key_id(), hash(ours)) == (theirs.key_id(), theirs.key_id(), hash(theirs))
    assert (ours.flags, type(ours.flags)) == (theirs.flags, type(theirs.flags))


def test_a_key_is_read_once_and_can_be_copied() -> None:
    octets = RECORDS[RdataType.DNSKEY]
    one, _ = read_rdata(Names(octets), RdataType.DNSKEY, 0, len(octets))
    again, _ = read_rdata(Names(b"\x00" + octets), RdataType.DNSKEY, 1, 1 + len(octets))
    assert one is again
    theirs = dnspythons(RdataType.DNSKEY, octets)
    assert isinstance(one, DNSKEY)
    assert isinstance(theirs, DNSKEY)
    assert hash(one) == hash(theirs)
    assert one.key_id() == theirs.key_id()
    assert theirs == one
    revoked = one.replace(flags=0x0181)
    assert isinstance(revoked, DNSKEY)
    assert revoked.flags == 0x0181
    assert revoked != one
    assert hash(revoked) == hash(theirs.replace(flags=0x0181))
    assert copy.copy(one) == one


def test_names_of_a_message_are_known_names() -> None:
    assert isinstance(Names(WIRE_NAME).read(0)[0], KnownName)
