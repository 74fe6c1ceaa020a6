"""Verify a chain of ARC sets in two pure steps (RFC 8617 section 5.2).

    examination = examine(message)
    answers = {name: await resolver.resolve(name, TXT) for name in examination.key_names}
    verdict = examination.judge(answers, now)

All errors are permanent for the chain (section 5.2.1), those of DNS too: `reason` says which one it was, so that a
server can ask the client to come back instead of recording a failure.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from letterlock.mailauth.arc.sets import MESSAGE_SIGNATURE, RESULTS, SEAL, ArcSet, Seal, Status, arc_sets
from letterlock.mailauth.dkim.canonical import Form, canonical_field
from letterlock.mailauth.dkim.public_keys import PublicKey, read_key
from letterlock.mailauth.dkim.reasons import DkimReason, DkimResult, UnusableSignature, explain
from letterlock.mailauth.dkim.signature import Signature
from letterlock.mailauth.dkim.verify import Bodies, Headers, check, key_records, require_unexpired, require_well_formed
from letterlock.mailauth.message import Message
from letterlock.resolver.answer import Answer, LookupFailure, Security


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainVerdict:
    """The state of a chain, and why it failed.

    `sets` is empty when they could not be read. `failed_at` is the instance whose field failed. `securities` are the
    DNSSEC states of the answers with the keys, for the sets in `sets`; None where a look-up failed.
    """

    status: Status
    sets: tuple[ArcSet, ...] = ()
    reason: DkimReason | None = None
    found: str = ""
    failed_at: int | None = None
    securities: tuple[Security | None, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether there is a chain, and it holds."""
        return self.status is Status.PASS

    @property
    def temporary(self) -> bool:
        """Whether only a look-up failed: the same message may pass later."""
        return self.reason is not None and explain(self.reason).result is DkimResult.TEMPERROR

    def __str__(self) -> str:
        if self.reason is None:
            return "the chain holds" if self.passed else "the message has no chain"
        explanation = explain(self.reason)
        where = f"at instance {self.failed_at}, " if self.failed_at else ""
        found = f": {self.found}" if self.found else ""
        return f"{where}{explanation.sentence}{found} ({explanation.section})"


@dataclass(frozen=True, slots=True)
class ChainExamination:
    """A chain as far as it can be judged without DNS; `refused` when that is the end already."""

    message: Message
    sets: tuple[ArcSet, ...]
    refused: UnusableSignature | None = None

    @property
    def key_names(self) -> tuple[str, ...]:
        """The names whose TXT records are needed, each once: at most 51."""
        if self.refused or not self.sets:
            return ()
        return tuple(dict.fromkeys([self.sets[-1].signature.key_name, *(each.seal.key_name for each in self.sets)]))

    def judge(self, answers: Mapping[str, Answer | LookupFailure], now: float) -> ChainVerdict:
        """The verdict. `answers` has each of `key_names`; `now` is in seconds since 1970."""
        if self.refused:
            return failed(self.sets, self.refused)
        if not self.sets:
            return ChainVerdict(status=Status.NONE)
        securities = tuple(_security(answers[each.seal.key_name]) for each in self.sets)
        instance = len(self.sets)
        try:
            _check_signature(self.message, self.sets[-1].signature, answers, now)
            for instance, digest in reversed(_seal_digests(self.sets)):
                _check_seal(self.sets[instance - 1].seal, digest, answers)
        except UnusableSignature as refused:
            return failed(self.sets, refused, instance, securities)
        return ChainVerdict(status=Status.PASS, sets=self.sets, securities=securities)


def examine(message: Message) -> ChainExamination:
    """Read the chain of a message and say which keys it needs. Never raises for what a message contains."""
    if not any(message.named(name) for name in (RESULTS, MESSAGE_SIGNATURE, SEAL)):
        return ChainExamination(message, ())
    sets: tuple[ArcSet, ...] = ()
    try:
        require_well_formed(message)
        sets = arc_sets(message)
        _check_statuses(sets)
    except UnusableSignature as refused:
        # without its frames, the callers' too: with what it is kept in, they would be a ring that has the whole message
        refused.__traceback__ = refused.__context__ = None
        return ChainExamination(message, sets, refused)
    return ChainExamination(message, sets)


def failed(
    sets: tuple[ArcSet, ...],
    refused: UnusableSignature,
    failed_at: int | None = None,
    securities: tuple[Security | None, ...] = (),
) -> ChainVerdict:
    """The verdict on a chain that does not hold."""
    return ChainVerdict(
        status=Status.FAIL,
        sets=sets,
        reason=refused.reason,
        found=refused.found,
        failed_at=failed_at,
        securities=securities,
    )


def _check_statuses(sets: Sequence[ArcSet]) -> None:
    """none, then pass, pass, ...; a failure that the last hop found stays one. Raises UnusableSignature."""
    if sets[-1].seal.status is Status.FAIL:
        raise UnusableSignature(DkimReason.ARC_FAILED_BEFORE, f"instance {len(sets)}")
    for each in sets:
        expected = Status.NONE if each.instance == 1 else Status.PASS
        if each.seal.status is not expected:
            raise UnusableSignature(DkimReason.ARC_STATUS, f"instance {each.instance} has cv={each.seal.status}")


def _seal_digests(sets: Sequence[ArcSet]) -> list[tuple[int, bytes]]:
    """What each seal is over: all sets up to its own, in order, itself without b= and the final CRLF (5.1.1)."""
    hashed = sha256()
    digests = []
    for each in sets:
        for field in (each.results, each.signature.field):
            hashed.update(canonical_field(field, Form.RELAXED) + b"\r\n")
        own = hashed.copy()
        own.update(canonical_field(each.seal.unsigned_field, Form.RELAXED))
        digests.append((each.instance, own.digest()))
        hashed.update(canonical_field(each.seal.field, Form.RELAXED) + b"\r\n")
    return digests


def _check_signature(
    message: Message, signature: Signature, answers: Mapping[str, Answer | LookupFailure], now: float
) -> None:
    require_unexpired(signature, now)
    bodies, headers = Bodies(message, [signature]), Headers(message)
    _try_keys(signature, answers, lambda key: check(signature, key, bodies, headers))


def _check_seal(seal: Seal, digest: bytes, answers: Mapping[str, Answer | LookupFailure]) -> None:
    def check_seal(key: PublicKey) -> None:
        if not key.verifies(seal.signature, digest):
            raise UnusableSignature(DkimReason.ARC_SEAL_BROKEN)

    _try_keys(seal, answers, check_seal)


def _try_keys(
    signed: Signature | Seal, answers: Mapping[str, Answer | LookupFailure], check_with: Callable[[PublicKey], None]
) -> None:
    """Pass with the first key record that verifies. Raises UnusableSignature, for the last record."""
    last = UnusableSignature(DkimReason.KEY_ABSENT)
    for record in key_records(answers[signed.key_name]):
        try:
            check_with(read_key(record, signed.algorithm))
        except UnusableSignature as refused:
            last = refused
        else:
            return
    raise last


def _security(answer: Answer | LookupFailure) -> Security | None:
    return answer.security if isinstance(answer, Answer) else None
