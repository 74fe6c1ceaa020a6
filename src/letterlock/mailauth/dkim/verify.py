"""Verify DKIM signatures in two pure steps: which keys are needed; what holds, given the DNS answers (RFC 6376).

examination = examine(message)
answers = {name: await resolver.resolve(name, TXT) for name in examination.key_names}
verdicts = examination.judge(answers, now)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from dns.rdtypes.ANY.TXT import TXT

from letterlock.mailauth.dkim.canonical import BodyHash, Form, canonical_field
from letterlock.mailauth.dkim.public_keys import PublicKey, read_key
from letterlock.mailauth.dkim.reasons import DkimReason, DkimResult, UnusableSignature, explain
from letterlock.mailauth.dkim.signature import FIELD_NAME, Algorithm, Signature, parse_signature
from letterlock.mailauth.dkim.tags import shown
from letterlock.mailauth.message import Field, Message
from letterlock.resolver.answer import Answer, FailureKind, LookupFailure, Security

# A message through three lists that each sign twice has 8. One costs a DNS lookup, a hash of the header and 0.1 ms.
MAX_SIGNATURES = 10
MAX_KEY_RECORDS = 4  # section 6.1.2 lets a verifier try several records of one selector
_SAFE_RSA_BITS = 2048  # signers should have that many (RFC 8301 section 3.2)


@dataclass(frozen=True, slots=True, kw_only=True)
class DkimVerdict:
    """How one signature ended, and why.

    `reason` is None exactly for a pass; `found` is what was found, for people. `signature` is None when the field
    could not be read. `security` is the DNSSEC state of the key's answer, None when none was needed or none came.
    `key_bits` is known when a key was found. `testing` is the key's t=y: a failure means no more than no signature.
    `unsigned_octets` is how much of the canonical body l= left out, which anybody may have put there.
    """

    field: Field
    result: DkimResult
    reason: DkimReason | None = None
    found: str = ""
    signature: Signature | None = None
    security: Security | None = None
    key_bits: int | None = None
    testing: bool = False
    unsigned_octets: int = 0

    @property
    def passed(self) -> bool:
        """Whether the signature holds."""
        return self.result is DkimResult.PASS

    @property
    def weak_key(self) -> bool:
        """Whether the key is RSA with 1024 to 2047 bits: accepted, and to be stated."""
        if self.signature is None or self.signature.algorithm is not Algorithm.RSA_SHA256:
            return False
        return self.key_bits is not None and self.key_bits < _SAFE_RSA_BITS

    def __str__(self) -> str:
        if self.reason is None:
            return "the signature holds"
        explanation = explain(self.reason)
        found = f": {self.found}" if self.found else ""
        return f"{explanation.sentence}{found} ({explanation.section})"


@dataclass(frozen=True, slots=True)
class Examination:
    """The signatures of a message as far as they can be judged without DNS, from the top: at most MAX_SIGNATURES.

    When there are more, the last finding is one verdict on all the others.
    """

    message: Message
    findings: tuple[Signature | DkimVerdict, ...]

    @property
    def key_names(self) -> tuple[str, ...]:
        """The names whose TXT records are needed, each once."""
        return tuple(dict.fromkeys(each.key_name for each in self.findings if isinstance(each, Signature)))

    def judge(self, answers: Mapping[str, Answer | LookupFailure], now: float) -> tuple[DkimVerdict, ...]:
        """The verdicts, from the top. `answers` has each of `key_names`; `now` is in seconds since 1970."""
        signatures = [each for each in self.findings if isinstance(each, Signature)]
        bodies = Bodies(self.message, signatures)
        headers = Headers(self.message)
        return tuple(
            _judge(each, answers[each.key_name], bodies, headers, now) if isinstance(each, Signature) else each
            for each in self.findings
        )


def examine(message: Message) -> Examination:
    """Read the signatures of a message and say which keys they need. Never raises for what a message contains."""
    fields = message.named(FIELD_NAME)
    first, rest = fields[:MAX_SIGNATURES], fields[MAX_SIGNATURES:]
    # One verdict for all the rest: an attacker may write 10,000, and a log would get a line for each.
    unread = (
        [refusal(rest[0], UnusableSignature(DkimReason.TOO_MANY_SIGNATURES, f"{len(fields)} signatures"))]
        if rest
        else []
    )
    try:
        require_well_formed(message)
    except UnusableSignature as refused:
        return Examination(message, (*(refusal(field, refused) for field in first), *unread))
    return Examination(message, (*map(_read, first), *unread))


def require_well_formed(message: Message) -> None:
    """Raises UnusableSignature when a line of the header is no field: readers differ about what follows it."""
    malformed = message.named(b"")
    if malformed:
        raise UnusableSignature(DkimReason.MALFORMED_HEADER, shown(malformed[0].raw))


def _read(field: Field) -> Signature | DkimVerdict:
    try:
        return parse_signature(field)
    except UnusableSignature as refused:
        return refusal(field, refused)


def refusal(field: Field, refused: UnusableSignature, signature: Signature | None = None) -> DkimVerdict:
    """The verdict on a signature that cannot pass."""
    return DkimVerdict(
        field=field,
        result=explain(refused.reason).result,
        reason=refused.reason,
        found=refused.found,
        signature=signature,
    )


class Bodies:
    """The digests of a body, each canonical form in one pass for all signatures that need it, and only on demand."""

    def __init__(self, message: Message, signatures: Sequence[Signature]) -> None:
        self._message = message
        self._lengths = {
            form: frozenset(each.length for each in signatures if each.body_form is form) | {None} for form in Form
        }
        self._hashed: dict[Form, tuple[dict[int | None, bytes], int]] = {}

    def digest(self, form: Form, length: int | None) -> bytes:
        """The digest of the first `length` octets of the form (None: all).

        Raises UnusableSignature when it has fewer.
        """
        if form not in self._hashed:
            hashed = BodyHash(form, self._lengths[form])
            for view in self._message.body_views():
                hashed.update_view(view)
            self._hashed[form] = hashed.finish(), hashed.octets
        digests, octets = self._hashed[form]
        if length is not None and length > octets:
            raise UnusableSignature(DkimReason.BODY_TOO_SHORT, f"l={length}, the body has {octets} bytes")
        return digests[length]

    def unsigned_octets(self, form: Form, length: int | None) -> int:
        """How much of the form's octets a length leaves out."""
        return 0 if length is None else self._hashed[form][1] - length


class Headers:
    """The canonical forms of a message's fields, made once for all signatures."""

    def __init__(self, message: Message) -> None:
        self._message = message
        self._made: dict[tuple[int, Form], bytes] = {}

    def count(self, name: bytes) -> int:
        """How many fields of a name the message has."""
        return len(self._message.named(name))

    def canonical(self, field: Field, form: Form) -> bytes:
        """A field of the message in its canonical form, with the final CRLF."""
        key = id(field), form  # the message keeps the field alive
        if key not in self._made:
            self._made[key] = canonical_field(field, form) + b"\r\n"
        return self._made[key]

    def digest(self, signature: Signature) -> bytes:
        """What a signature is over: the fields in h=, each name from the bottom up, and its own without b= (3.7)."""
        left: dict[bytes, list[Field]] = {}
        hashed = sha256()
        for name in signature.names:
            if name not in left:  # its own field is none of those that it names (section 3.5)
                left[name] = [each for each in self._message.named(name) if each is not signature.field]
            if left[name]:
                hashed.update(self.canonical(left[name].pop(), signature.header_form))
        hashed.update(canonical_field(signature.unsigned_field, signature.header_form))
        return hashed.digest()


def _judge(
    signature: Signature, answer: Answer | LookupFailure, bodies: Bodies, headers: Headers, now: float
) -> DkimVerdict:
    """Try each key record until one verifies; else the reason is that of a record with a key (section 6.1.2)."""
    try:
        require_unexpired(signature, now)
        records = key_records(answer)
    except UnusableSignature as refused:
        return _with_security(refusal(signature.field, refused, signature), answer)
    verdicts: list[DkimVerdict] = []
    for record in records:
        verdicts.append(_judge_by(record, signature, bodies, headers))
        if verdicts[-1].passed:
            break
    best = max(verdicts, key=lambda verdict: (verdict.passed, verdict.key_bits is not None))
    return _with_security(best, answer)


def _judge_by(record: bytes, signature: Signature, bodies: Bodies, headers: Headers) -> DkimVerdict:
    key = None
    try:
        key = read_key(record, signature.algorithm)
        check(signature, key, bodies, headers)
    except UnusableSignature as refused:
        return _with_key(refusal(signature.field, refused, signature), key)
    unsigned = bodies.unsigned_octets(signature.body_form, signature.length)
    verdict = DkimVerdict(field=signature.field, result=DkimResult.PASS, signature=signature, unsigned_octets=unsigned)
    return _with_key(verdict, key)


def require_unexpired(signature: Signature, now: float) -> None:
    """Raises UnusableSignature after the time in x=."""
    if signature.expires_at is not None and signature.expires_at < now:
        raise UnusableSignature(DkimReason.EXPIRED, f"x={signature.expires_at}")


def check(signature: Signature, key: PublicKey, bodies: Bodies, headers: Headers) -> None:
    """Check a signature with a key (section 6.1.3). Raises UnusableSignature."""
    if key.strict and signature.identity_domain != signature.domain:
        raise UnusableSignature(DkimReason.KEY_STRICT, f"i={signature.identity}, d={signature.domain}")
    if bodies.digest(signature.body_form, signature.length) != signature.body_hash:
        raise UnusableSignature(DkimReason.BODY_CHANGED)
    if not key.verifies(signature.signature, headers.digest(signature)):
        raise UnusableSignature(DkimReason.HEADER_CHANGED)
    count = headers.count(b"from")
    if count > signature.names.count(b"from"):  # readers may show the one above those that are signed
        raise UnusableSignature(DkimReason.FROM_ADDED, f"{count} From fields")


def key_records(answer: Answer | LookupFailure) -> list[bytes]:
    """The TXT records in an answer, each one's strings joined (section 3.6.2.2). Raises UnusableSignature."""
    if isinstance(answer, LookupFailure):
        bogus = answer.kind is FailureKind.BOGUS
        raise UnusableSignature(
            DkimReason.KEY_BOGUS if bogus else DkimReason.KEY_LOOKUP_FAILED, f"{answer.kind}: {answer.detail}"
        )
    records = [b"".join(record.strings) for record in answer.records if isinstance(record, TXT)]
    if not records:
        raise UnusableSignature(DkimReason.KEY_ABSENT, str(answer.question.name).rstrip("."))
    return records[:MAX_KEY_RECORDS]


def _with_security(verdict: DkimVerdict, answer: Answer | LookupFailure) -> DkimVerdict:
    bogus = isinstance(answer, LookupFailure) and answer.kind is FailureKind.BOGUS
    security = answer.security if isinstance(answer, Answer) else Security.BOGUS if bogus else None
    return replace(verdict, security=security)


def _with_key(verdict: DkimVerdict, key: PublicKey | None) -> DkimVerdict:
    return replace(verdict, key_bits=key.bits, testing=key.testing) if key else verdict
