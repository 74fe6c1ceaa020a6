"""What a domain publishes under a selector, judged without any signature."""

from dataclasses import dataclass

from letterlock.mailauth.dkim.public_keys import PublicKey, read_key
from letterlock.mailauth.dkim.reasons import DkimReason, UnusableSignature, explain
from letterlock.mailauth.dkim.signature import Algorithm
from letterlock.mailauth.dkim.signing_key import SigningKey
from letterlock.mailauth.dkim.verify import key_records
from letterlock.resolver.answer import Answer, LookupFailure


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedKey:
    """A key that verifiers can use; or the reason why there is none."""

    algorithm: Algorithm | None = None
    key: PublicKey | None = None
    reason: DkimReason | None = None
    found: str = ""

    def belongs_to(self, private: SigningKey) -> bool:
        """Whether signatures of a private key verify with it."""
        return self.key is not None and self.key.key == private.key.public_key()

    def __str__(self) -> str:
        if self.reason is not None:
            explanation = explain(self.reason)
            found = f": {self.found}" if self.found else ""
            return f"{explanation.sentence}{found} ({explanation.section})"
        if self.algorithm is Algorithm.RSA_SHA256 and self.key:
            return f"RSA, {self.key.bits} bits"
        return "Ed25519"


def published_key(answer: Answer | LookupFailure) -> PublishedKey:
    """The first key in an answer that can be used, as a verifier would find it."""
    last = PublishedKey(reason=DkimReason.KEY_ABSENT)
    try:
        records = key_records(answer)
    except UnusableSignature as refused:
        return PublishedKey(reason=refused.reason, found=refused.found)
    for record in records:
        last = key_of_record(record)
        if last.key:
            break
    return last


def key_of_record(record: bytes) -> PublishedKey:
    """The key for the algorithm that the record names; for RSA, when it names neither."""
    last = UnusableSignature(DkimReason.KEY_ABSENT)
    for algorithm in (Algorithm.ED25519_SHA256, Algorithm.RSA_SHA256):
        try:
            return PublishedKey(algorithm=algorithm, key=read_key(record, algorithm))
        except UnusableSignature as refused:
            last = refused
            if refused.reason is not DkimReason.KEY_ALGORITHM:
                break
    return PublishedKey(reason=last.reason, found=last.found)
