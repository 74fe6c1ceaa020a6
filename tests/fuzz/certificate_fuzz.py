"""Throw chains, TLSA sets and names at the judgement of certificates.

`python -m tests.fuzz.certificate_fuzz --cases N --seed S`. Chains are drawn from certificates that point at each other
in every way, and some are damaged. Whatever comes, a judgement ends in a match or a mismatch, checks no more signatures
than it may, takes no more CPU than MAX_CPU_SECONDS, explains itself in printable words of our own, and accepts no path
that OpenSSL refuses. Where OpenSSL accepts and we do not, a section or a bound must say why.
"""

import argparse
import gc
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from letterlock.identity import path, signers, validity
from letterlock.identity.certificates import InvalidCertificate, _parse_small, describe, parse_certificate
from letterlock.identity.dane import DaneMatch, match_dane
from letterlock.identity.path import Anchors, CertificationPath
from letterlock.identity.pkix import PkixMatch, readable, verify_pkix
from letterlock.identity.signers import MAX_SIGNATURE_CHECKS, SignatureBudget
from letterlock.identity.strength import session_strength
from letterlock.identity.tlsa import DANE_TA, TLSARecord
from letterlock.identity.trust import TrustRoots
from tests.fuzz.certificate_pool import HOST, NOW, Pool, damaged, make_pool, random_chain, random_records
from tests.identity.openssl_pkix import refusal

Result = TypeVar("Result")
MAX_CPU_SECONDS = 0.05
CASES_PER_POOL = 500
_SIGNATURE = "certificate signature failure"  # as OpenSSL says it
_FOREIGN_WORDS = (
    "candidates exhausted",
    "validation failed",
    "ASN.1",
    "ParseError",
    "error:",
    " at 0x",
    "Traceback",
    "(code ",
)
# Why we may refuse what OpenSSL accepts: bounds, and rules that are stricter by a section.
_STRICTER = (
    "no basicConstraints",  # RFC 5280 section 6.1.4 (k)
    "signature checks than are allowed",
    "SHA224, which is too weak",
    "an RSA exponent of",
    "too many to compare",
    "do not fit together",  # OpenSSL 4: a self-issued anchor that was signed with a key of another kind than its own
    "intermediate authorities",
)


class Unsound(AssertionError):
    """A judgement cost too much, said too much, or believed what it must not."""


@dataclass(slots=True)
class Meter:
    """What the judgements of a run have cost, and how they ended."""

    checks: int = 0
    most_checks: int = 0
    most_seconds: float = 0.0
    ended: Counter[str] = field(default_factory=Counter)

    def judge(self, call: Callable[[], Result]) -> Result:
        """Make one judgement with nothing remembered, and hold it to its bounds."""
        result, seconds = self._time(call)
        self.most_checks, self.most_seconds = max(self.most_checks, self.checks), max(self.most_seconds, seconds)
        if self.checks > MAX_SIGNATURE_CHECKS:
            raise Unsound(f"{self.checks} signature checks")
        if seconds > MAX_CPU_SECONDS:
            raise Unsound(f"{seconds:.3f} seconds of CPU")
        return result

    def _time(self, call: Callable[[], Result]) -> tuple[Result, float]:
        _parse_small.cache_clear()
        path._FOUND.clear()
        gc.disable()  # collecting what the fuzzer leaves behind is not the judgement's cost
        try:
            self.checks, began = 0, time.process_time()
            return call(), time.process_time() - began
        finally:
            gc.enable()


def run(cases: int, seed: int, first: int = 0) -> Meter:
    """Try so many cases, from the one numbered `first` on. Raises Unsound."""
    meter, pool = Meter(), Pool((), {}, ())
    with _counting(meter):
        for number in range(first, first + cases):
            if number % CASES_PER_POOL == 0 or number == first:
                pool = make_pool(random.Random(f"{seed}/{number - number % CASES_PER_POOL}"))
            try:
                _one(random.Random(f"{seed}:{number}"), pool, meter)
            except Unsound as fault:
                raise Unsound(f"seed {seed}, case {number}: {fault}") from None
    return meter


@contextmanager
def _counting(meter: Meter) -> Iterator[None]:
    """Count the signatures that are checked, by us and by OpenSSL."""
    verify, openssl_fault = signers._verify, validity._openssl_fault

    def counted(certificate: x509.Certificate, key: object) -> bool:
        meter.checks += 1
        return verify(certificate, key)

    def counted_path(path: Sequence[x509.Certificate]) -> str | None:
        meter.checks += len(path) - 1
        return openssl_fault(path)

    signers._verify, validity._openssl_fault = counted, counted_path
    try:
        yield
    finally:
        signers._verify, validity._openssl_fault = verify, openssl_fault


def _one(chance: random.Random, pool: Pool, meter: Meter) -> None:
    chain = random_chain(chance, pool)
    whole = chance.random() < 0.7
    if not whole:
        chain = [damaged(chance, one) if chance.random() < 0.5 else one for one in chain]
    trusted = (
        *chance.sample(chain, chance.choice((0, 1))),
        *chance.sample(pool.certificates, chance.choice((1, 3, 9))),
    )
    roots = TrustRoots("some", trusted)
    references = (HOST,) if chance.random() < 0.7 else ("elsewhere.example", HOST)
    _describe(chain)
    _judge_dane(meter, chain, random_records(chance, pool, chain), references)
    _judge_pkix(meter, chain, roots, references)
    _compare(meter, chain, roots, whole=whole)


def _describe(chain: Sequence[bytes]) -> None:
    session_strength("TLSv1.2", "AES128-SHA", chain)
    for der in chain:
        try:
            found = describe(der)
        except InvalidCertificate as error:
            _check_words(str(error))
        else:
            _check_words(f"{found.subject} {found.issuer} {' '.join(found.names)}")


def _judge_dane(meter: Meter, chain: Sequence[bytes], records: Sequence[TLSARecord], references: Sequence[str]) -> None:
    found = meter.judge(lambda: match_dane(chain, records, references, NOW))
    meter.ended[f"DANE {found.by if isinstance(found, DaneMatch) else found.kind}"] += 1
    if isinstance(found, DaneMatch):
        if found.record.usage == DANE_TA and found.reference not in references:
            raise Unsound("a name that nobody asked for")
        return
    for detail in (found.detail, *(one.detail for one in found.records)):
        _check_words(detail)


def _judge_pkix(meter: Meter, chain: Sequence[bytes], roots: TrustRoots, references: Sequence[str]) -> None:
    found = meter.judge(lambda: verify_pkix(chain, references, roots, NOW))
    meter.ended["PKIX match" if isinstance(found, PkixMatch) else f"PKIX {found.kind}"] += 1
    if not isinstance(found, PkixMatch):
        _check_words(found.detail)


def _check_words(text: str) -> None:
    if not text.isprintable() or any(word in text for word in _FOREIGN_WORDS):
        raise Unsound(f"these are not our words: {text!r}")


def _compare(meter: Meter, chain: Sequence[bytes], roots: TrustRoots, *, whole: bool) -> None:
    """Our path search against OpenSSL's verdict: on the very path that we found, or on all that there is."""
    try:
        leaf = parse_certificate(chain[0])
    except InvalidCertificate:
        return
    anchors = readable(roots.certificates)
    search = path._Search(readable(chain[1:]), Anchors(anchors), NOW, SignatureBudget())
    found = search.run(leaf)
    if isinstance(found, CertificationPath):
        ours = [one.public_bytes(Encoding.DER) for one in found.certificates]
        reason = refusal(ours, ours[-1:], NOW)
        if reason is not None and not (reason == _SIGNATURE and _each_is_signed(ours)):
            raise Unsound(f"we accept what OpenSSL refuses: {reason}")
        meter.ended["path for both"] += 1
        return
    reason = refusal(chain, roots.certificates, NOW) if whole else "not asked"
    faults = (found.detail, *(text for _, text in search._faults))
    told = any(why in text for why in _STRICTER for text in faults) or _same_name_other_key(chain, anchors)
    if reason is None and not told:
        raise Unsound(f"we refuse what OpenSSL accepts: {found.detail}")
    meter.ended["no path for both" if reason else "no path for us alone, as a section or a bound says"] += 1


def _each_is_signed(path: Sequence[bytes]) -> bool:
    """Whether OpenSSL finds each signature right when it has one issuer to choose from.

    Of two authorities of one name on a path, without key identifiers, it takes the anchor for the issuer of what the
    other one signed (OpenSSL 3.0; 4.0 does not), as `_same_name_other_key` says.
    """
    return all(refusal([one], [issuer], NOW) != _SIGNATURE for one, issuer in pairwise(path))


def _same_name_other_key(chain: Sequence[bytes], anchors: Sequence[x509.Certificate]) -> bool:
    """Whether an authority that was sent has an anchor's name and another key, and no identifier tells them apart.

    OpenSSL, asked about the one path that we found, then takes the anchor for the issuer and finds its signature wrong.
    """
    keys: dict[validity.NameKey, set[bytes]] = {}
    for one in (*readable(chain[1:]), *anchors):
        try:
            key = one.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        except (ValueError, UnsupportedAlgorithm):
            continue  # nobody can have signed with it
        keys.setdefault(validity.subject_key(one), set()).add(key)
    return any(len(keys.get(validity.subject_key(anchor), ())) > 1 for anchor in anchors)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    arguments = parser.parse_args()
    meter = run(arguments.cases, arguments.seed, arguments.first)
    for word, count in meter.ended.most_common():
        print(f"{count:8} {word}")
    print(
        f"{arguments.cases} cases, seed {arguments.seed}: at most {meter.most_checks} signature checks "
        f"and {meter.most_seconds * 1000:.1f} ms of CPU for one judgement"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
