"""TLSA records that nobody can use, from signed DNS to the decision (RFC 7672 section 2.2, RFC 7671 section 9)."""

import hashlib

import dns.name
import pytest

from letterlock.discover.discoverer import Discoverer
from letterlock.identity.dane import DaneMatch, match_dane
from letterlock.policy.decision import DaneAuthentication, Defer, Encryption, Requirement, SkipHost
from letterlock.policy.evidence import MxHost, Origin
from letterlock.policy.reasons import sentence
from letterlock.policy.require import exhausted, require
from letterlock.resolver import Answer
from letterlock.routing.rules import Rules
from tests.net.https_servers import FixedClock
from tests.policy.evidence import LEAF, destination
from tests.resolver.odd import NOW, OddWorld, raw

RIGHT = b"\3\1\1" + hashlib.sha256(LEAF.spki).digest()
HOST = MxHost(name="mx.odd.test", preference=10, origin=Origin.MX, secure=True)


async def required(*tlsa: bytes) -> Requirement:
    world = OddWorld()
    raw(world.zone, "_25._tcp.mx", "TLSA", *tlsa)
    target = await Discoverer(world.resolver(), Rules({}), clock=FixedClock()).host(HOST, 25)
    assert isinstance(target.tlsa, Answer)
    assert len(target.tlsa.records) == len(tlsa)
    found = require(destination("10 mx.odd.test."), target)
    assert isinstance(found, Requirement)
    return found


@pytest.mark.parametrize(
    "bad", [b"\3\1\1" + bytes(31), b"\3\1\2" + bytes(32), b"\3\1\1", b"\3\1", b"", b"\xff" * 60], ids=len
)
async def test_rfc6698_4_1_a_right_record_authenticates_whatever_stands_beside_it(bad: bytes) -> None:
    found = await required(bad, RIGHT)
    assert isinstance(found.authentication, DaneAuthentication)
    match = match_dane((LEAF.der,), found.authentication.records, found.authentication.references, NOW)
    assert isinstance(match, DaneMatch)
    assert match.record.data == RIGHT[3:]


@pytest.mark.parametrize("bad", [b"\3\1\1", b"\3\1", b"\3", b"", b"\3\1\1" + bytes(31), b"\3\1\2" + bytes(32)], ids=len)
async def test_rfc7672_2_2_unusable_records_alone_demand_tls_without_authentication(bad: bytes) -> None:
    found = await required(bad)
    assert (found.encryption, found.authentication, found.fallback) == (Encryption.MANDATORY, None, None)
    assert "none is usable" in sentence(found.reasons[0])


async def test_an_address_that_cannot_be_read_is_none_and_the_others_are_dialled() -> None:
    world = OddWorld()
    raw(world.zone, "mx", "A", b"\1\2\3", b"")
    target = await Discoverer(world.resolver(), Rules({}), clock=FixedClock()).host(HOST, 25)
    assert target.addresses == ("192.0.2.1",)
    assert target.tlsa_base == "mx.odd.test"


async def test_a_host_whose_addresses_cannot_be_read_is_not_one_without_an_address() -> None:
    world = OddWorld()
    del world.zone.rrsets[dns.name.from_text("mx.odd.test")]
    raw(world.zone, "mx", "A", b"\1\2\3", b"")
    target = await Discoverer(world.resolver(), Rules({}), clock=FixedClock()).host(HOST, 25)
    skipped = require(destination("10 mx.odd.test."), target)
    assert isinstance(skipped, SkipHost)
    assert isinstance(exhausted("odd.test", [skipped]), Defer)
