"""DNSSEC rule by rule: each test is named after the section that it stands for."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rrset
import pytest
from dns.message import Message
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.NSEC import NSEC

from letterlock.resolver import Absence, Answer, FailureKind, LookupFailure, Resolver, Security, parse_anchors
from letterlock.resolver.signatures import serial_before
from tests.agreement.build import anchor_text, build
from tests.agreement.content import Content
from tests.agreement.internet import Internet
from tests.agreement.plan import DAY, Denial, Plan, Signer, Site
from tests.agreement.signers import own_key

TLSA = "3 1 1 " + "ab" * 32
RECORDS = (
    ("", "MX", "10 mx.s1."),
    ("mx", "A", "192.0.2.1"),
    ("_25._tcp.mx", "TLSA", TLSA),
    ("*.wild", "A", "192.0.2.2"),
    ("*.alias", "CNAME", "mx.s1."),
    ("www", "CNAME", "mx.s1."),
    ("toplain", "CNAME", "host.plain.s1."),
    ("leaf.empty", "A", "192.0.2.3"),
    ("tree", "DNAME", "target.s1."),
    ("host.target", "A", "192.0.2.4"),
    ("away", "CNAME", "tree.s1."),
    ("*.dname", "DNAME", "target.s1."),
)
DENIALS = [Denial.NSEC, Denial.NSEC3]
Forger = Callable[[Internet, Message], None]


@dataclass
class World:
    """A signed root, a signed domain s1, its signed child sub.s1 and its unsigned child plain.s1."""

    directory: Path
    denial: Denial = Denial.NSEC
    algorithm: int = 13
    top: Plan | None = None
    more: Sequence[Plan] = ()
    change: Callable[[Content], None] | None = None
    forge: Forger | None = None
    now: float | None = None
    fault: str = "none"
    internet: Internet = field(init=False)

    def __post_init__(self) -> None:
        name = dns.name.from_text("s1")
        top = self.top or Plan(
            origin=name, records=RECORDS, signer=Signer.OWN, algorithm=self.algorithm, denial=self.denial
        )
        sub = Plan(origin=dns.name.from_text("sub.s1"), records=(("host", "A", "192.0.2.7"),), denial=self.denial)
        plain = Plan(origin=dns.name.from_text("plain.s1"), records=(("host", "A", "192.0.2.8"),), algorithm=0)
        self.internet = build([Site(name=name, plans=(top, sub, plain, *self.more), fault=self.fault)], self.directory)
        if self.change is not None:
            self.change(self.internet.contents[name])
        if self.forge is not None:
            self.internet.forgers[name] = self.forge

    def resolver(self) -> Resolver:
        async def transport(wire: bytes, tcp: bool) -> bytes:
            return self.internet.answer(wire)

        return Resolver(transport, anchors=parse_anchors(anchor_text()), now=self.now or time.time())

    def resolve(self, name: str, rdtype: str) -> Answer | LookupFailure:
        return asyncio.run(self.resolver().resolve(name, rdtype))

    def secure(self, name: str, rdtype: str, absence: Absence | None = None) -> Answer:
        found = self.resolve(name, rdtype)
        assert isinstance(found, Answer), found
        assert (found.security, found.absence) == (Security.SECURE, absence), found
        return found

    def insecure(self, name: str, rdtype: str) -> Answer:
        found = self.resolve(name, rdtype)
        assert isinstance(found, Answer), found
        assert found.security is Security.INSECURE, found
        return found

    def bogus(self, name: str, rdtype: str) -> LookupFailure:
        found = self.resolve(name, rdtype)
        assert isinstance(found, LookupFailure), found
        assert found.kind is FailureKind.BOGUS, found
        return found


def question(message: Message) -> tuple[dns.name.Name, RdataType]:
    return message.question[0].name, message.question[0].rdtype


def name_of(text: str) -> dns.name.Name:
    return dns.name.from_text(text)


def only_for(name: str, rdtype: str, change: Callable[[Internet, Message], None]) -> Forger:
    """A change to the reply to one question."""

    def forge(internet: Internet, message: Message) -> None:
        if question(message) == (name_of(name), RdataType.from_text(rdtype)):
            change(internet, message)

    return forge


@pytest.mark.parametrize("denial", DENIALS)
@pytest.mark.parametrize("algorithm", [7, 8, 10, 13, 14, 15, 16])
def test_rfc8624_3_1_every_algorithm_is_checked(tmp_path: Path, algorithm: int, denial: Denial) -> None:
    world = World(tmp_path, algorithm=algorithm, denial=denial)
    world.secure("_25._tcp.mx.s1", "TLSA")
    world.secure("nothing.s1", "A", Absence.NXDOMAIN)


@pytest.mark.parametrize("denial", DENIALS)
@pytest.mark.parametrize(
    ("name", "rdtype", "absence"),
    [
        ("mx.s1", "A", None),
        ("mx.s1", "AAAA", Absence.NODATA),
        ("nothing.s1", "A", Absence.NXDOMAIN),
        ("below.mx.s1", "A", Absence.NXDOMAIN),
        ("any.wild.s1", "A", None),
        ("any.wild.s1", "TXT", Absence.NODATA),
        ("any.alias.s1", "A", None),
        ("empty.s1", "A", Absence.NODATA),
        ("www.s1", "A", None),
        ("host.tree.s1", "A", None),
        ("other.tree.s1", "A", Absence.NXDOMAIN),
        ("sub.s1", "DS", None),
        ("host.sub.s1", "A", None),
        ("plain.s1", "DS", Absence.NODATA),
        ("mx.s1", "DS", Absence.NODATA),
        ("s1", "DS", None),
    ],
)
def test_rfc4035_5_4_and_rfc5155_8_answers_and_absences_are_proven(
    tmp_path: Path, name: str, rdtype: str, absence: Absence | None, denial: Denial
) -> None:
    World(tmp_path, denial=denial).secure(name, rdtype, absence)


@pytest.mark.parametrize("denial", [*DENIALS, Denial.OPT_OUT])
def test_rfc4035_5_2_an_unsigned_child_is_insecure_by_proof(tmp_path: Path, denial: Denial) -> None:
    assert World(tmp_path, denial=denial).insecure("host.plain.s1", "A").records


def test_rfc4035_5_5_the_weakest_link_of_an_alias_chain_decides(tmp_path: Path) -> None:
    answer = World(tmp_path).insecure("toplain.s1", "A")
    assert [link.security for link in answer.aliases] == [Security.SECURE]


def test_rfc4034_3_1_5_times_compare_by_serial_arithmetic() -> None:
    assert serial_before(0xFFFF_FFFF, 5)
    assert not serial_before(5, 0xFFFF_FFFF)
    assert not serial_before(7, 7)


@pytest.mark.parametrize(("days", "word"), [(40, "expired"), (-40, "not valid before")])
def test_rfc4035_5_3_1_a_signature_counts_within_its_time_alone(tmp_path: Path, days: int, word: str) -> None:
    world = World(tmp_path)
    world.now = time.time() + days * DAY
    assert word in world.bogus("mx.s1", "A").detail


def test_rfc4035_5_3_3_the_ttl_is_capped_by_what_is_left_of_the_signature(tmp_path: Path) -> None:
    plan = Plan(origin=name_of("s1"), records=RECORDS, validity=(-3600, 100))
    assert World(tmp_path, top=plan).secure("mx.s1", "A").ttl <= 100


def test_rfc4035_5_3_3_the_ttl_is_capped_by_the_original_one(tmp_path: Path) -> None:
    assert World(tmp_path, fault="ttl high").secure("mx.s1", "A").ttl <= 300


def test_rfc4035_5_3_4_a_wildcard_answer_needs_proof_that_nothing_closer_exists(tmp_path: Path) -> None:
    def strip(_: Internet, message: Message) -> None:
        message.authority.clear()

    world = World(tmp_path, forge=only_for("any.wild.s1", "A", strip))
    assert "nothing closer" in world.bogus("any.wild.s1", "A").detail


def test_rfc4035_5_2_only_unknown_algorithms_make_a_child_unsigned(tmp_path: Path) -> None:
    assert World(tmp_path, fault="ds of unknown algorithm").insecure("mx.s1", "A").records


def test_rfc6840_5_2_only_unknown_digests_make_a_child_unsigned(tmp_path: Path) -> None:
    assert World(tmp_path, fault="ds of unknown digest").insecure("mx.s1", "A").records


def test_rfc6840_5_2_unknown_ones_beside_a_known_one_change_nothing(tmp_path: Path) -> None:
    World(tmp_path, fault="ds beside unknown ones").secure("mx.s1", "A")


def test_rfc4509_3_sha1_is_not_looked_at_beside_sha256(tmp_path: Path) -> None:
    plan = Plan(origin=name_of("s1"), records=RECORDS, digests=(1, 2))
    world = World(tmp_path, top=plan)
    root = world.internet.contents[dns.name.root]
    held = root.sets[name_of("s1")][RdataType.DS]
    wrong = [each if each.digest_type == 1 else each.replace(digest=bytes(32)) for each in held]
    root.sets[name_of("s1")][RdataType.DS] = made = dns.rrset.from_rdata_list(name_of("s1"), 300, wrong)
    moment = int(time.time())
    root.signatures[name_of("s1"), RdataType.DS] = [
        own_key(13, 256, 1).sign(made, dns.name.root, (moment - 60, moment + 60))
    ]
    world.bogus("mx.s1", "A")


def test_an_anchor_of_an_unknown_algorithm_leaves_its_zone_unsigned(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def transport(wire: bytes, tcp: bool) -> bytes:
        return world.internet.answer(wire)

    resolver = Resolver(transport, anchors=["s1. 300 IN DS 1 208 2 " + "00" * 32])
    found = asyncio.run(resolver.resolve("mx.s1", "A"))
    assert isinstance(found, Answer)
    assert found.security is Security.INSECURE


def test_rfc6840_5_4_one_valid_signature_is_enough(tmp_path: Path) -> None:
    World(tmp_path, fault="second signature bad").secure("mx.s1", "A")


def test_rfc4035_3_1_1_a_signature_in_another_section_still_counts(tmp_path: Path) -> None:
    def move(_: Internet, message: Message) -> None:
        message.additional += [each for each in message.answer if each.rdtype == RdataType.RRSIG]
        message.answer[:] = [each for each in message.answer if each.rdtype != RdataType.RRSIG]

    World(tmp_path, forge=only_for("mx.s1", "A", move)).secure("mx.s1", "A")


@pytest.mark.parametrize("denial", DENIALS)
def test_rfc6840_4_1_the_parents_record_of_a_delegation_denies_nothing_below_it(tmp_path: Path, denial: Denial) -> None:
    def forge(internet: Internet, message: Message) -> None:
        message.answer.clear()
        message.set_rcode(dns.rcode.NXDOMAIN)
        parent = internet.contents[name_of("s1")]
        message.authority[:] = parent.deny(name_of("sub.s1"), exists=True, wildcard=False)

    World(tmp_path, denial=denial, forge=only_for("host.sub.s1", "A", forge)).bogus("host.sub.s1", "A")


def edited_bitmap(owner: str, without: str, more: str = "") -> Callable[[Content], None]:
    """The NSEC of a name with other types, signed as it should be: a zone that lies about itself."""

    def change(content: Content) -> None:
        name = name_of(owner)
        [record] = content.sets[name][RdataType.NSEC]
        assert isinstance(record, NSEC)
        words = [word for word in record.to_text().split() if word != without] + ([more] if more else [])
        made = dns.rrset.from_text(name, 300, "IN", "NSEC", " ".join(words))
        content.sets[name][RdataType.NSEC] = made
        now = int(time.time())
        content.signatures[name, RdataType.NSEC] = [
            own_key(13, 256, len(content.origin)).sign(made, content.origin, (now - 60, now + 60))
        ]

    return change


def test_rfc6840_4_3_a_record_with_the_cname_bit_denies_no_type(tmp_path: Path) -> None:
    def deny(internet: Internet, message: Message) -> None:
        message.answer.clear()
        message.authority[:] = internet.contents[name_of("s1")].deny(name_of("www.s1"), exists=True, wildcard=False)

    World(tmp_path, forge=only_for("www.s1", "A", deny)).bogus("www.s1", "A")


def test_rfc6840_4_4_no_ds_is_an_unsigned_delegation_only_with_the_ns_bit_and_without_soa(tmp_path: Path) -> None:
    World(tmp_path).insecure("host.plain.s1", "A")
    (tmp_path / "two").mkdir()
    World(tmp_path / "two", change=edited_bitmap("plain.s1.", "NS")).bogus("host.plain.s1", "A")
    (tmp_path / "three").mkdir()
    World(tmp_path / "three", change=edited_bitmap("plain.s1.", "", "SOA")).bogus("host.plain.s1", "A")


def test_rfc5155_8_4_a_name_error_needs_the_denial_of_the_wildcard_even_by_opt_out(tmp_path: Path) -> None:
    world = World(tmp_path, denial=Denial.OPT_OUT)
    content = world.internet.contents[name_of("s1")]
    encloser, name = next(
        (name_of(encloser), name)
        for encloser in ("mx.s1", "www.s1", "leaf.empty.s1", "s1")
        for name in (f"n{number}.{encloser}" for number in range(99))
        if content.nsec3_for(name_of(f"*.{encloser}"))
        not in (content.nsec3_for(name_of(encloser)), content.nsec3_for(name_of(name)))
    )

    def forge(internet: Internet, message: Message) -> None:
        if question(message) == (name_of(name), RdataType.A):
            message.authority[:] = [*content.nsec3_for(encloser), *content.nsec3_for(name_of(name))]
        elif question(message) == (name_of(name), RdataType.DS):  # it would say that the name may be an unsigned zone
            message.authority.clear()

    world.internet.forgers[name_of("s1")] = forge
    world.bogus(name, "A")


def test_rfc5155_6_an_absence_in_an_opt_out_span_is_insecure(tmp_path: Path) -> None:
    answer = World(tmp_path, denial=Denial.OPT_OUT).insecure("nothing.s1", "A")
    assert answer.absence is Absence.NXDOMAIN


def test_rfc9276_3_2_too_many_iterations_are_a_failure_with_its_own_code(tmp_path: Path) -> None:
    plan = Plan(origin=name_of("s1"), records=RECORDS, denial=Denial.NSEC3, iterations=200)
    world = World(tmp_path, top=plan)
    world.secure("mx.s1", "A")
    assert world.bogus("nothing.s1", "A").ede == 27


def test_rfc5155_8_2_records_of_an_unknown_hash_are_left_out(tmp_path: Path) -> None:
    def change(content: Content) -> None:
        for held in content.sets.values():
            if RdataType.NSEC3 in held:
                [record] = held[RdataType.NSEC3]
                held[RdataType.NSEC3] = dns.rrset.from_rdata_list(content.origin, 300, [record.replace(algorithm=2)])

    World(tmp_path, denial=Denial.NSEC3, change=change).bogus("nothing.s1", "A")


def test_rfc6672_5_3_a_synthesised_cname_is_made_anew_from_the_dname(tmp_path: Path) -> None:
    def forge(_: Internet, message: Message) -> None:
        message.answer[:] = [each for each in message.answer if each.rdtype != RdataType.CNAME]
        message.answer.append(dns.rrset.from_text("host.tree.s1.", 300, "IN", "CNAME", "evil.example."))

    answer = World(tmp_path, forge=only_for("host.tree.s1", "A", forge)).secure("host.tree.s1", "A")
    assert answer.canonical_name == name_of("host.target.s1")


@pytest.mark.parametrize("forged", [False, True])
def test_rfc6672_5_3_1_a_question_for_the_cname_below_a_dname_is_answered_from_the_dname(
    tmp_path: Path, forged: bool
) -> None:
    def forge(_: Internet, message: Message) -> None:
        if forged:
            message.answer[:] = [each for each in message.answer if each.rdtype != RdataType.CNAME]
            message.answer.append(dns.rrset.from_text("host.tree.s1.", 300, "IN", "CNAME", "evil.example."))

    answer = World(tmp_path, forge=only_for("host.tree.s1", "CNAME", forge)).secure("host.tree.s1", "CNAME")
    assert [record.to_text() for record in answer.records] == ["host.target.s1."]
    assert (answer.canonical_name, answer.aliases, answer.ttl) == (name_of("host.tree.s1"), (), 300)


def test_rfc6672_5_3_1_a_cname_whose_dname_is_kept_back_is_bogus(tmp_path: Path) -> None:
    def forge(_: Internet, message: Message) -> None:
        message.answer[:] = [each for each in message.answer if each.rdtype == RdataType.CNAME]

    World(tmp_path, forge=only_for("host.tree.s1", "CNAME", forge)).bogus("host.tree.s1", "CNAME")


def test_a_question_for_a_cname_is_not_answered_by_following_it(tmp_path: Path) -> None:
    answer = World(tmp_path).secure("www.s1", "CNAME")
    assert [record.to_text() for record in answer.records] == ["mx.s1."]


def test_rfc6672_2_4_a_question_for_dname_follows_a_cname(tmp_path: Path) -> None:
    answer = World(tmp_path).secure("away.s1", "DNAME")
    assert answer.canonical_name == name_of("tree.s1")


def test_rfc4592_4_4_a_dname_from_a_wildcard_is_refused(tmp_path: Path) -> None:
    def forge(internet: Internet, message: Message) -> None:
        content = internet.contents[name_of("s1")]
        wild = content.get(name_of("*.dname.s1"), RdataType.DNAME)
        message.answer[:] = [dns.rrset.from_rdata_list(name_of("any.dname.s1"), 300, list(each)) for each in wild]
        message.answer.append(dns.rrset.from_text("host.any.dname.s1.", 300, "IN", "CNAME", "host.target.s1."))
        message.authority[:] = content.deny_closer(name_of("any.dname.s1"))

    world = World(tmp_path, forge=only_for("host.any.dname.s1", "A", forge))
    assert "wildcard" in world.bogus("host.any.dname.s1", "A").detail


def test_an_upstream_that_fails_for_ds_is_forgiven_where_the_answer_brought_the_proof(tmp_path: Path) -> None:
    def forge(internet: Internet, message: Message) -> None:
        name, rdtype = question(message)
        if rdtype == RdataType.DS and name == name_of("plain.s1"):
            message.set_rcode(dns.rcode.SERVFAIL)
        if (name, rdtype) == (name_of("toplain.s1"), RdataType.A):
            message.authority[:] = internet.contents[name_of("s1")].nsec_for(name_of("plain.s1"))

    assert World(tmp_path, forge=forge).insecure("toplain.s1", "A").records


def test_rfc5011_2_1_a_revoked_key_vouches_for_nothing(tmp_path: Path) -> None:
    World(tmp_path, fault="keys revoked").bogus("mx.s1", "A")


def test_rfc4034_2_1_1_a_key_without_the_zone_bit_signs_nothing(tmp_path: Path) -> None:
    World(tmp_path, fault="keys not of the zone").bogus("mx.s1", "A")


def test_rfc4034_6_2_names_in_old_types_are_lowered_before_they_are_checked(tmp_path: Path) -> None:
    records = (
        ("mx", "MX", "10 Mail.S1."),
        ("rp", "RP", "Mbox.S1. Text.S1."),
        ("srv", "SRV", "1 2 25 Host.S1."),
        ("UPPER", "NAPTR", '1 2 "s" "x" "" Repl.S1.'),
    )
    world = World(tmp_path, top=Plan(origin=name_of("s1"), records=records))
    for owner, rdtype, _ in records:
        world.secure(f"{owner}.s1", rdtype)


def test_rfc4035_5_3_1_a_signer_that_is_not_above_the_name_is_not_believed(tmp_path: Path) -> None:
    """The parent's data, signed by the child's key in the child's name."""

    def resign(internet: Internet, message: Message) -> None:
        now = int(time.time())
        rrset = message.answer[0]
        signature = own_key(13, 256, 3).sign(rrset, name_of("sub.s1"), (now - 60, now + 60))
        message.answer[1] = dns.rrset.from_rdata_list(rrset.name, 300, [signature])

    World(tmp_path, forge=only_for("mx.s1", "A", resign)).bogus("mx.s1", "A")
