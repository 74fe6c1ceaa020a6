"""Steps of proofs keep what they are about; their words are made when they are read, and stay what they were."""

import dns.message
import dns.name
import pytest

from letterlock.lab.authority import Validity, ZoneKey
from letterlock.lab.namespace import NameSpace
from letterlock.lab.zones import Denial, Zone
from letterlock.resolver import Absence, Answer, ProofStep, Resolver, Security
from letterlock.resolver.denial import Denied
from letterlock.resolver.proof_steps import (
    iterations_step,
    key_text,
    negative_anchor_step,
    unsupported_step,
    wildcard_step,
)
from letterlock.resolver.trust_anchors import NegativeAnchor
from tests.resolver.test_reuse import NOW


async def proofs(denial: Denial, *questions: tuple[str, str]) -> list[tuple[ProofStep, ...]]:
    """The proofs of questions to a signed world, and of one to an unsigned zone in it."""
    root, zone = Zone(".", key=ZoneKey.make()), Zone("test.", key=ZoneKey.make(), denial=denial)
    bare = Zone("bare.test.", key=None)
    zone.add("a", "A", "192.0.2.1")
    bare.add("a", "A", "192.0.2.3")
    root.delegate(zone)
    zone.delegate(bare)
    for each in (root, zone, bare):
        each.publish(Validity.around(NOW))
    names = NameSpace([root, zone, bare])

    async def transport(wire: bytes, tcp: bool) -> bytes:
        return names.answer(dns.message.from_wire(wire)).to_wire(max_size=65_535)

    resolver = Resolver(transport, anchors=[names.anchor()], now=NOW)
    found = [await resolver.resolve(*each) for each in questions]
    return [each.proof for each in found if isinstance(each, Answer)]


@pytest.mark.parametrize(("denial", "by"), [(Denial.NSEC, "NSEC "), (Denial.NSEC3, " NSEC3")])
async def test_every_kind_of_step_reads_as_its_values_say(denial: Denial, by: str) -> None:
    asked = ("a.test", "A"), ("a.test", "MX"), ("a.bare.test", "A")
    signed, absent, bare = await proofs(denial, *asked)
    assert [step.what for step in signed] == ["anchor", "dnskey", "signature", "ds", "dnskey", "signature"]
    anchor, _, ds_signed, ds, keys, last = signed
    assert (anchor.detail, anchor.section) == (f"trust anchor {anchor.facts[0][1]}", "RFC 4033 section 2")
    tag = dict(last.facts)["key_tag"]
    assert ds_signed.detail.startswith("test. DS is signed by key ")
    assert ds.detail == f"DS {tag} (SHA256) in ."
    assert ds.facts == (("ds", f"{tag} 13 2"),)
    assert keys.detail == f"keys {tag} (KSK, ECDSAP256SHA256), signed by {tag}"
    until = dict(last.facts)["expiration"]
    assert last.detail == f"a.test. A is signed by key {tag} (ECDSAP256SHA256), valid until {until}"
    assert [name for name, _ in last.facts] == ["rrset", "key_tag", "algorithm", "inception", "expiration"]
    assert last.zone == "test."
    assert absent[-1].detail == f"a.test. MX is absent (nodata): {dict(absent[-1].facts)['denial']}"
    assert by in str(dict(absent[-1].facts)["denial"])
    assert bare[-1].detail == f"no DS in test., proven by {dict(bare[-1].facts)['denial']}"
    assert bare[-1].section == ("RFC 4035 section 5.2" if denial is Denial.NSEC else "RFC 5155 section 8.6")


def test_rare_steps_read_as_their_values_say() -> None:
    zone = dns.name.from_text("test.")
    assert "no DS record or anchor has an algorithm" in unsupported_step(zone).detail
    assert iterations_step(zone, 2500, 150).detail == "NSEC3 of test. has 2500 iterations, more than 150"
    step = negative_anchor_step(NegativeAnchor(zone=zone, until=NOW, reason="broken"))
    assert step.detail == "taken for unsigned until 2027-01-15T08:00:00Z: broken"
    assert (step.zone, step.facts) == ("test.", ())
    ends = dns.name.from_text("a.test."), dns.name.from_text("c.test.")
    closer = Denied(Absence.NXDOMAIN, Security.SECURE, (ends,))
    step = wildcard_step(zone, dns.name.from_text("b.test."), dns.name.from_text("*.test."), closer)
    assert step.detail == "b.test. comes from *.test.; nothing closer exists: a.test. NSEC c.test."
    assert step.facts == (("wildcard", "*.test."), ("denial", "a.test. NSEC c.test."))
    closer = Denied(Absence.NXDOMAIN, Security.INSECURE, ((b"00", True), (b"01", False)))
    assert wildcard_step(zone, *ends, closer).facts[1] == ("denial", "00 NSEC3 opt-out, 01 NSEC3")


async def test_an_answer_makes_no_words_for_its_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each signature of each answer has a step, and nearly none is ever read: looking up must not format any."""

    def forbidden(*_: object) -> str:
        raise AssertionError("nobody reads this")

    for name in ("utc", "algorithm_name", "digest_name", "type_name", "key_text", "text_of"):
        monkeypatch.setattr(f"letterlock.resolver.proof_steps.{name}", forbidden)
    for denial in Denial:
        assert len(await proofs(denial, ("a.test", "A"), ("a.test", "MX"), ("a.bare.test", "A"))) == 3


async def test_answers_from_an_unsigned_zone_share_one_proof() -> None:
    _, one, other = await proofs(Denial.NSEC3, *(("a.bare.test", each) for each in ("A", "MX", "AAAA")))
    assert one is other


def test_steps_are_equal_by_what_they_are_about() -> None:
    zone = dns.name.from_text("test.")
    assert unsupported_step(zone) == unsupported_step(zone)
    assert len({unsupported_step(zone), unsupported_step(zone)}) == 1
    assert iterations_step(zone, 200, 150) != iterations_step(zone, 201, 150)
    words = [
        ProofStep(zone="test.", what="ds", security=Security.SECURE, detail=detail, section="1")
        for detail in ("one", "one", "two")
    ]
    assert words[0] == words[1] != words[2]
    assert repr(words[0]).startswith("ProofStep(zone='test.', what='ds'")
    assert key_text(ZoneKey.make().dnskey).endswith(" (KSK, ECDSAP256SHA256)")
