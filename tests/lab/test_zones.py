"""What a box's DNS says, looked at record by record; Unbound and delv judge the whole in test_interop.py."""

import dns.dnssec
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.node
import dns.rcode
import dns.rdataset
import dns.rdatatype
import pytest

from letterlock.lab import dns_attackers as lies
from letterlock.lab.authority import Validity, ZoneKey
from letterlock.lab.dns_server import Answerer
from letterlock.lab.namespace import NameSpace
from letterlock.lab.zones import Denial, Zone

NOW = 1_800_000_000


def make_names(denial: Denial) -> NameSpace:
    """A root, and a signed and an unsigned domain below it."""
    root = Zone(".", key=ZoneKey.make(), denial=denial)
    signed = Zone("signed.test.", key=ZoneKey.make(), denial=denial)
    unsigned = Zone("unsigned.test.")
    for zone in (signed, unsigned):
        root.delegate(zone)
        zone.add("@", "MX", "10 mx")
        zone.add("mx", "A", "127.0.0.1")
        zone.add("alias", "CNAME", "mx.signed.test.")
        zone.add("_25._tcp.mx", "TLSA", "3 1 1 " + "00" * 32)
        zone.publish(Validity.around(NOW))
    root.publish(Validity.around(NOW))
    return NameSpace([root, signed, unsigned])


def ask(names: NameSpace, name: str, rdtype: str, *, dnssec: bool = True) -> dns.message.Message:
    """One question, with CD."""
    return names.answer(make_query(name, rdtype, dnssec=dnssec))


def make_query(name: str, rdtype: str, *, dnssec: bool = True) -> dns.message.Message:
    """One query, with CD."""
    query = dns.message.make_query(name, rdtype, want_dnssec=dnssec, payload=1232)
    query.flags |= dns.flags.CD
    return query


def keys_of(zone: Zone) -> dict[dns.name.Name, dns.node.Node | dns.rdataset.Rdataset]:
    """The zone's keys, as dnspython wants them."""
    return {zone.origin: zone.rrsets[zone.origin][dns.rdatatype.DNSKEY]}


@pytest.fixture(params=list(Denial))
def names(request: pytest.FixtureRequest) -> NameSpace:
    """A name space that denies by NSEC, and one that denies by NSEC3."""
    return make_names(request.param)


def test_rfc4035_5_3_every_signature_holds(names: NameSpace) -> None:
    for zone in names.zones.values():
        if zone.key is None:
            continue
        keys = keys_of(zone)
        for rrsets in zone.rrsets.values():
            for rrset in rrsets.values():
                if len(signed := zone.with_signature(rrset)) > 1:
                    dns.dnssec.validate(signed[0], signed[1], keys, now=NOW)


def test_a_positive_answer_carries_its_signature_only_with_do(names: NameSpace) -> None:
    with_do, without = ask(names, "signed.test", "MX"), ask(names, "signed.test", "MX", dnssec=False)
    assert [rrset.rdtype for rrset in with_do.answer] == [dns.rdatatype.MX, dns.rdatatype.RRSIG]
    assert [rrset.rdtype for rrset in without.answer] == [dns.rdatatype.MX]
    assert with_do.flags & dns.flags.CD
    assert with_do.flags & dns.flags.RA
    assert not with_do.flags & dns.flags.AD


def test_rfc4035_2_4_the_ds_stands_in_the_parent_zone(names: NameSpace) -> None:
    found = ask(names, "signed.test", "DS")
    assert found.answer[1][0].signer == dns.name.root
    missing = ask(names, "unsigned.test", "DS")
    assert not missing.answer
    assert missing.rcode() == dns.rcode.NOERROR


def test_an_alias_is_followed_into_another_zone(names: NameSpace) -> None:
    response = ask(names, "alias.unsigned.test", "A")
    assert [rrset.rdtype.name for rrset in response.answer] == ["CNAME", "A", "RRSIG"]


def test_names_that_only_have_names_below_them_exist(names: NameSpace) -> None:
    assert ask(names, "_tcp.mx.signed.test", "A").rcode() == dns.rcode.NOERROR
    assert ask(names, "test", "A").rcode() == dns.rcode.NOERROR
    assert ask(names, "_26._tcp.mx.signed.test", "A").rcode() == dns.rcode.NXDOMAIN


def test_rfc4035_3_1_3_2_nsec_denies_the_name_and_the_wildcard() -> None:
    response = ask(make_names(Denial.NSEC), "nn.signed.test", "A")
    owners = [rrset.name.to_text() for rrset in response.authority if rrset.rdtype == dns.rdatatype.NSEC]
    assert owners == ["_25._tcp.mx.signed.test.", "signed.test."]


def test_rfc5155_7_2_2_nsec3_gives_closest_encloser_next_closer_and_wildcard() -> None:
    names = make_names(Denial.NSEC3)
    zone = names.zones[dns.name.from_text("signed.test")]
    response = ask(names, "a.b.mx.signed.test", "A")
    owners = {rrset.name for rrset in response.authority if rrset.rdtype == dns.rdatatype.NSEC3}
    label = dns.dnssec.nsec3_hash("mx.signed.test", None, 0, 1).lower()
    assert dns.name.from_text(label, zone.origin) in owners
    assert 1 <= len(owners) <= 3


def test_an_unsigned_zone_denies_without_proof(names: NameSpace) -> None:
    response = ask(names, "nope.unsigned.test", "A")
    assert [rrset.rdtype for rrset in response.authority] == [dns.rdatatype.SOA]
    assert response.rcode() == dns.rcode.NXDOMAIN


def test_a_name_is_found_in_any_case(names: NameSpace) -> None:
    assert ask(names, "MX.Signed.TEST", "A").answer


def lied(answer: Answerer, name: str, rdtype: str) -> dns.message.Message:
    """What an attacker answers."""
    response = answer(make_query(name, rdtype))
    assert response is not None
    return response


def test_the_forged_mx_keeps_a_signature_that_does_not_fit(names: NameSpace) -> None:
    forged = lied(lies.forge_mx(names.answer, {"signed.test": "mx.mallory.example"}), "signed.test", "MX")
    assert "mx.mallory.example." in forged.answer[0].to_text()
    keys = keys_of(names.zones[dns.name.from_text("signed.test")])
    with pytest.raises(dns.exception.ValidationFailure):
        dns.dnssec.validate(forged.answer[0], forged.answer[1], keys, now=NOW)


def test_removed_tlsa_comes_without_a_proof(names: NameSpace) -> None:
    answer = lies.remove_tlsa(names.answer)
    response = lied(answer, "_25._tcp.mx.signed.test", "TLSA")
    assert response.flags & dns.flags.AD
    assert (response.rcode(), response.answer, response.authority) == (dns.rcode.NOERROR, [], [])
    assert lied(answer, "signed.test", "MX").answer


def test_a_replayed_denial_is_genuine_and_of_another_name(names: NameSpace) -> None:
    response = lied(lies.replay_denial(names.answer), "_25._tcp.mx.signed.test", "TLSA")
    assert not response.answer
    assert any(rrset.rdtype == dns.rdatatype.RRSIG for rrset in response.authority)


def test_failed_tlsa_is_servfail_and_all_else_is_honest(names: NameSpace) -> None:
    answer = lies.fail_tlsa(names.answer)
    assert lied(answer, "_25._tcp.mx.signed.test", "TLSA").rcode() == dns.rcode.SERVFAIL
    assert lied(answer, "mx.signed.test", "A").answer


def test_rfc4035_5_3_1_a_replayed_record_is_signed_by_the_zone_and_has_expired(names: NameSpace) -> None:
    owner = dns.name.from_text("_25._tcp.mx.signed.test")
    answer = lies.replay_tlsa(names, {owner: "3 1 1 " + "11" * 32}, NOW)
    record, signature = lied(answer, owner.to_text(), "TLSA").answer
    keys = keys_of(names.zones[dns.name.from_text("signed.test")])
    dns.dnssec.validate(record, signature, keys, now=signature[0].inception + 1)
    assert signature[0].expiration < NOW
    with pytest.raises(dns.exception.ValidationFailure):
        dns.dnssec.validate(record, signature, keys, now=NOW)


def test_removed_signatures_leave_no_proof_of_anything(names: NameSpace) -> None:
    answer = lies.remove_signatures(names.answer)
    for name, rdtype in (("signed.test", "MX"), ("signed.test", "DS"), ("nope.signed.test", "A")):
        response = lied(answer, name, rdtype)
        kinds = {rrset.rdtype for rrset in (*response.answer, *response.authority)}
        assert not kinds & {dns.rdatatype.RRSIG, dns.rdatatype.NSEC, dns.rdatatype.NSEC3}


def test_a_removed_ds_is_denied_without_proof_and_other_domains_stay_as_they_are(names: NameSpace) -> None:
    answer = lies.remove_delegation_signers(names.answer, ["signed.test"])
    assert lied(answer, "signed.test", "DS").to_text().count("RRSIG") == 0
    assert [rrset.rdtype.name for rrset in lied(answer, "signed.test", "MX").answer] == ["MX"]
    assert lied(answer, "unsigned.test", "DS").authority


def test_an_alias_leads_to_what_is_true_of_its_target(names: NameSpace) -> None:
    response = lied(lies.alias(names.answer, {"signed.test": "unsigned.test"}), "signed.test", "MX")
    assert [rrset.to_text().split()[3:] for rrset in response.answer] == [
        ["CNAME", "unsigned.test."],
        ["MX", "10", "mx.unsigned.test."],
    ]


def test_a_dropped_question_has_no_answer(names: NameSpace) -> None:
    answer = lies.drop(names.answer, lies.of_type(dns.rdatatype.TLSA))
    assert answer(make_query("_25._tcp.mx.signed.test", "TLSA")) is None
    assert answer(make_query("signed.test", "MX")) is not None
