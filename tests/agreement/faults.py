"""What may be wrong: in the plan, in what is published, at the parent, or on the way (a forger).

Every fault is a function of its zone or message alone, so that everyone who asks meets the same.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rrset
from dns.message import Message
from dns.name import Name
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS
from dns.rdtypes.ANY.RRSIG import RRSIG
from dns.rrset import RRset

from tests.agreement.content import TTL, Content
from tests.agreement.internet import Forger, Internet
from tests.agreement.plan import DAY, Denial, Plan, Signer
from tests.agreement.signers import moment, own_key

FORGED_ADDRESS = "203.0.113.66"
_DENIALS = (RdataType.NSEC, RdataType.NSEC3)

_Record = TypeVar("_Record", bound=dns.rdata.Rdata)


def _with(record: _Record, **fields: object) -> _Record:
    made = record.replace(**fields)
    assert isinstance(made, type(record))
    return made


# --- in the plan -----------------------------------------------------------------------------------------------------


def _expired(plan: Plan, top: bool) -> Plan:
    return replace(plan, validity=(-30 * DAY, -DAY)) if top else plan


def _not_yet_valid(plan: Plan, top: bool) -> Plan:
    return replace(plan, validity=(2 * DAY, 30 * DAY)) if top else plan


def _child_expired(plan: Plan, top: bool) -> Plan:
    return plan if top else replace(plan, validity=(-30 * DAY, -DAY))


def _many_iterations(plan: Plan, top: bool) -> Plan:
    if not top or plan.algorithm in (0, 5):
        return plan
    return replace(plan, denial=Denial.NSEC3, iterations=200, signer=Signer.OWN)


def _island(plan: Plan, top: bool) -> Plan:
    return replace(plan, ds=False) if top else plan


def _unsigned_with_ds(plan: Plan, top: bool) -> Plan:
    return replace(plan, algorithm=0) if top else plan


PLAN_FAULTS: dict[str, Callable[[Plan, bool], Plan]] = {
    "expired": _expired,
    "not yet valid": _not_yet_valid,
    "children expired": _child_expired,
    "too many iterations": _many_iterations,
    "island": _island,
    "unsigned": _unsigned_with_ds,
}

# --- in what is published --------------------------------------------------------------------------------------------


def _chosen(content: Content, share: int = 3) -> list[tuple[Name, RdataType]]:
    """Some of the signed RRsets, not the keys; the same ones each time."""
    keys = sorted(content.signatures, key=lambda key: (key[0].to_text(), int(key[1])))
    return [
        key
        for key in keys
        if key[1] != RdataType.DNSKEY and hashlib.sha256(repr(key).encode()).digest()[0] % share == 0
    ]


def _signature_flipped(content: Content) -> None:
    for key in _chosen(content):
        content.signatures[key] = [
            _with(each, signature=each.signature[:-1] + bytes([each.signature[-1] ^ 1]))
            for each in content.signatures[key]
        ]


def _signature_missing(content: Content) -> None:
    for key in _chosen(content):
        del content.signatures[key]


def _keys_unsigned(content: Content) -> None:
    content.signatures.pop((content.origin, RdataType.DNSKEY), None)


def _keys_missing(content: Content) -> None:
    content.sets[content.origin].pop(RdataType.DNSKEY, None)


def _data_changed(content: Content) -> None:
    for name, rdtype in _chosen(content, 2):
        if rdtype == RdataType.A:
            content.sets[name][rdtype] = dns.rrset.from_text(name, TTL, "IN", "A", FORGED_ADDRESS)


def _resign(content: Content, change: Callable[[RRset, RRSIG], RRSIG | None]) -> None:
    for name, rdtype in _chosen(content):
        rrset = content.sets[name][rdtype]
        made = [change(rrset, each) for each in content.signatures[name, rdtype]]
        content.signatures[name, rdtype] = [each for each in made if each is not None]


def _wrong_key(content: Content) -> None:
    """Signed by a key that the zone does not have."""

    def sign(rrset: RRset, old: RRSIG) -> RRSIG:
        return own_key(13, 256, 99).sign(rrset, content.origin, (old.inception, old.expiration))

    _resign(content, sign)


def _wrong_signer(content: Content) -> None:
    """Signatures that name another zone as their signer."""
    _resign(content, lambda _, old: _with(old, signer=Name((b"elsewhere", *content.origin.labels))))


def _signer_above(content: Content) -> None:
    _resign(content, lambda _, old: _with(old, signer=content.origin.parent()) if len(content.origin) > 1 else old)


def _wrong_labels(content: Content) -> None:
    _resign(content, lambda _, old: _with(old, labels=old.labels + 1))


def _fewer_labels(content: Content) -> None:
    _resign(content, lambda _, old: _with(old, labels=max(0, old.labels - 1)))


def _wrong_algorithm(content: Content) -> None:
    _resign(content, lambda _, old: _with(old, algorithm=15 if old.algorithm != 15 else 13))


def _second_signature_bad(content: Content) -> None:
    """A signature that fails beside one that holds: any valid one is enough (RFC 6840 section 5.4)."""
    for key in _chosen(content):
        good = content.signatures[key]
        content.signatures[key] = [*(_with(each, signature=bytes(len(each.signature))) for each in good), *good]


def _second_signature_unknown(content: Content) -> None:
    for key in _chosen(content):
        content.signatures[key] += [_with(each, algorithm=200, key_tag=1) for each in content.signatures[key]]


def _extra_keys(content: Content) -> None:
    """Keys that must not be used: revoked, not a zone key, another protocol, of no known algorithm."""
    held = content.sets[content.origin].get(RdataType.DNSKEY)
    for text in ("385 3 13 ", "1 3 13 ", "256 2 13 ", "256 3 200 "):
        if held is not None:
            record = dns.rdata.from_text("IN", "DNSKEY", text + own_key(13, 256, 98).record.to_text().split(" ", 3)[3])
            content.add(content.origin, TTL, record)
    _sign_keys_again(content)


def _sign_keys_again(content: Content) -> None:
    """The DNSKEY RRset, signed anew by one of our own keys that is in it."""
    rrset = content.sets[content.origin].get(RdataType.DNSKEY, ())
    for key in rrset:
        assert isinstance(key, DNSKEY)
        own = (
            own_key(key.algorithm, 257, len(content.origin)) if key.algorithm in (5, 7, 8, 10, 13, 14, 15, 16) else None
        )
        if own is not None and own.record == key:
            content.signatures[content.origin, RdataType.DNSKEY] = [
                own.sign(content.sets[content.origin][RdataType.DNSKEY], content.origin, (moment(-3600), moment(DAY)))
            ]


def _key_flags(old: int, new: int) -> Callable[[Content], None]:
    """The zone's keys with other flags. DS records and signatures stay as they were."""

    def change(content: Content) -> None:
        rrset = content.sets[content.origin].get(RdataType.DNSKEY)
        if rrset is not None:
            changed = [key.replace(flags=new) if key.flags == old else key for key in rrset]
            content.sets[content.origin][RdataType.DNSKEY] = dns.rrset.from_rdata_list(content.origin, TTL, changed)

    return change


def _denial_unsigned(content: Content) -> None:
    for key in [key for key in content.signatures if key[1] in _DENIALS]:
        del content.signatures[key]


def _ttl_high(content: Content) -> None:
    """TTLs above the original one: a cache may not believe them, but the signature holds."""
    for held in content.sets.values():
        for rrset in held.values():
            rrset.ttl = 80_000


CONTENT_FAULTS: dict[str, Callable[[Content], None]] = {
    "signature flipped": _signature_flipped,
    "signature missing": _signature_missing,
    "keys unsigned": _keys_unsigned,
    "keys missing": _keys_missing,
    "data changed": _data_changed,
    "wrong key": _wrong_key,
    "wrong signer": _wrong_signer,
    "signer above": _signer_above,
    "more labels": _wrong_labels,
    "fewer labels": _fewer_labels,
    "wrong algorithm": _wrong_algorithm,
    "second signature bad": _second_signature_bad,
    "second signature unknown": _second_signature_unknown,
    "extra keys": _extra_keys,
    "keys revoked": _key_flags(257, 385),
    "keys not of the zone": _key_flags(256, 0),
    "denial unsigned": _denial_unsigned,
    "ttl high": _ttl_high,
}

# --- at the parent ---------------------------------------------------------------------------------------------------


def _other_digest(records: tuple[DS, ...]) -> tuple[DS, ...]:
    return tuple(_with(each, digest=bytes(reversed(each.digest))) for each in records)


def _unknown_algorithm(records: tuple[DS, ...]) -> tuple[DS, ...]:
    return tuple(_with(each, algorithm=200) for each in records)


def _unknown_digest(records: tuple[DS, ...]) -> tuple[DS, ...]:
    return tuple(_with(each, digest_type=200) for each in records)


def _other_tag(records: tuple[DS, ...]) -> tuple[DS, ...]:
    return tuple(_with(each, key_tag=each.key_tag ^ 1) for each in records)


def _and_unknown(records: tuple[DS, ...]) -> tuple[DS, ...]:
    return (*records, *_unknown_algorithm(records), *_unknown_digest(records))


def _and_wrong(records: tuple[DS, ...]) -> tuple[DS, ...]:
    return (*records, *_other_digest(records), *_other_tag(records))


DS_FAULTS: dict[str, Callable[[tuple[DS, ...]], tuple[DS, ...]]] = {
    "ds of another key": _other_digest,
    "ds of unknown algorithm": _unknown_algorithm,
    "ds of unknown digest": _unknown_digest,
    "ds with another tag": _other_tag,
    "ds beside unknown ones": _and_unknown,
    "ds beside wrong ones": _and_wrong,
}

# --- on the way ------------------------------------------------------------------------------------------------------


def _question(message: Message) -> tuple[Name, RdataType]:
    return message.question[0].name, message.question[0].rdtype


def _without(section: list[RRset], *rdtypes: RdataType) -> list[RRset]:
    return [each for each in section if each.rdtype not in rdtypes and each.covers not in rdtypes]


def _only_data(forger: Forger) -> Forger:
    """A forger who leaves the keys and delegations alone."""

    def forge(internet: Internet, message: Message) -> None:
        if message.question[0].rdtype not in (RdataType.DS, RdataType.DNSKEY):
            forger(internet, message)

    return forge


def _signatures_stripped(_: Internet, message: Message) -> None:
    for section in (message.answer, message.authority):
        section[:] = [each for each in section if each.rdtype != RdataType.RRSIG]


def _denial_stripped(_: Internet, message: Message) -> None:
    message.authority[:] = _without(message.authority, *_DENIALS)


def _ds_stripped(_: Internet, message: Message) -> None:
    """Every DS question is answered with NODATA and no proof."""
    if message.question[0].rdtype == RdataType.DS:
        message.answer.clear()
        message.authority[:] = _without(message.authority, *_DENIALS)


def _ds_denied_by_replay(internet: Internet, message: Message) -> None:
    """DS is denied by the proof for another name of the parent."""
    name, rdtype = _question(message)
    if rdtype == RdataType.DS and len(name) > 1:
        parent = internet.content_of(name.parent())
        other = Name((b"zzz-replayed", *name.parent().labels))
        message.answer.clear()
        message.authority[:] = parent.deny(other, exists=False, wildcard=False)


def _address_forged(_: Internet, message: Message) -> None:
    name = message.question[0].name
    message.set_rcode(dns.rcode.NOERROR)
    message.answer[:] = [dns.rrset.from_text(name, TTL, "IN", "A", FORGED_ADDRESS)]
    message.authority.clear()


def _address_forged_with_old_signature(_: Internet, message: Message) -> None:
    for index, rrset in enumerate(message.answer):
        if rrset.rdtype == RdataType.A:
            message.answer[index] = dns.rrset.from_text(rrset.name, TTL, "IN", "A", FORGED_ADDRESS)


def _alias_forged(_: Internet, message: Message) -> None:
    name, rdtype = _question(message)
    if rdtype != RdataType.CNAME and name.labels[0] != b"nobody":
        message.set_rcode(dns.rcode.NOERROR)
        target = Name((b"nobody", *name.parent().labels))
        message.answer[:] = [dns.rrset.from_text(name, TTL, "IN", "CNAME", target.to_text())]
        message.authority.clear()


def _absence_forged(_: Internet, message: Message) -> None:
    message.answer.clear()
    message.authority.clear()
    message.set_rcode(dns.rcode.NXDOMAIN)


def _absence_replayed(internet: Internet, message: Message) -> None:
    """What is there is denied, by a real proof for another name."""
    name, _ = _question(message)
    content = internet.content_of(name)
    if message.answer and name != content.origin:
        message.answer.clear()
        message.set_rcode(dns.rcode.NXDOMAIN)
        other = Name((b"zzz-replayed", *content.origin.labels))
        message.authority[:] = content.deny(other, exists=False, wildcard=False)


def _type_denied_by_replay(internet: Internet, message: Message) -> None:
    """A type is denied by the record of another name."""
    name, _ = _question(message)
    content = internet.content_of(name)
    if message.answer:
        message.answer.clear()
        message.authority[:] = content.deny(content.origin, exists=True, wildcard=False)


def _absence_by_ancestor(internet: Internet, message: Message) -> None:
    """Names below a delegation are denied by the parent's record of it (RFC 6840 section 4.1)."""
    name, rdtype = _question(message)
    content = internet.content_of(name)
    if rdtype == RdataType.DS or len(content.origin) < 3:
        return
    parent = internet.content_of(content.origin.parent())
    message.answer.clear()
    nodata = name == content.origin
    message.set_rcode(dns.rcode.NOERROR if nodata else dns.rcode.NXDOMAIN)
    message.authority[:] = parent.deny(content.origin, exists=True, wildcard=False)


def _wildcard_without_proof(_: Internet, message: Message) -> None:
    if message.answer:
        message.authority.clear()


def _wildcard_replayed(internet: Internet, message: Message) -> None:
    """The wildcard's records for a name that exists."""
    name, rdtype = _question(message)
    content = internet.content_of(name)
    wild = content.get(Name((b"*", b"wild", *content.origin.labels)), rdtype)
    if wild and name == Name((b"exact", b"wild", *content.origin.labels)):
        message.answer[:] = [dns.rrset.from_rdata_list(name, each.ttl, list(each)) for each in wild]
        message.authority[:] = content.deny_closer(Name((b"other", b"wild", *content.origin.labels)))


def _rcode_flipped(_: Internet, message: Message) -> None:
    flipped = {dns.rcode.NOERROR: dns.rcode.NXDOMAIN, dns.rcode.NXDOMAIN: dns.rcode.NOERROR}
    message.set_rcode(flipped[message.rcode()])


def _extra_answers(_: Internet, message: Message) -> None:
    """Records of somebody else beside the answer."""
    message.answer.append(dns.rrset.from_text("elsewhere.example.", TTL, "IN", "A", FORGED_ADDRESS))


def _link_signatures_stripped(_: Internet, message: Message) -> None:
    message.answer[:] = [each for each in message.answer if each.covers not in (RdataType.CNAME, RdataType.DNAME)]


def _servfail(_: Internet, message: Message) -> None:
    message.answer.clear()
    message.authority.clear()
    message.set_rcode(dns.rcode.SERVFAIL)


FORGERS: dict[str, Forger] = {
    "signatures stripped": _signatures_stripped,
    "signatures of data stripped": _only_data(_signatures_stripped),
    "denial stripped": _denial_stripped,
    "denial of data stripped": _only_data(_denial_stripped),
    "ds stripped": _ds_stripped,
    "ds denied by replay": _ds_denied_by_replay,
    "address forged": _only_data(_address_forged),
    "address forged, old signature": _address_forged_with_old_signature,
    "alias forged": _only_data(_alias_forged),
    "absence forged": _only_data(_absence_forged),
    "absence replayed": _only_data(_absence_replayed),
    "type denied by replay": _only_data(_type_denied_by_replay),
    "absence by ancestor": _only_data(_absence_by_ancestor),
    "wildcard without proof": _only_data(_wildcard_without_proof),
    "wildcard replayed": _wildcard_replayed,
    "rcode flipped": _only_data(_rcode_flipped),
    "extra answers": _only_data(_extra_answers),
    "link signatures stripped": _link_signatures_stripped,
    "servfail": _only_data(_servfail),
}

SIGNATURE_FAULTS = frozenset(
    {
        "signature flipped",
        "signature missing",
        "wrong key",
        "wrong signer",
        "signer above",
        "more labels",
        "fewer labels",
        "wrong algorithm",
    }
)
FAULTS = (*PLAN_FAULTS, *CONTENT_FAULTS, *DS_FAULTS, *FORGERS)
