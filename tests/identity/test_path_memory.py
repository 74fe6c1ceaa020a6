"""A path that was found once holds while the dates of its certificates do, and no longer."""

import datetime as dt
import gc
import tracemalloc

from letterlock.identity.certificates import read_certificate
from letterlock.identity.mismatch import MismatchKind
from letterlock.identity.pkix import PkixMatch, PkixMismatch, verify_leaf, verify_pkix
from letterlock.identity.trust import TrustRoots
from tests.certificates import authority

NOW = 1_800_000_000.0
DAY = 86_400.0
HOST = "mx.example.org"


def test_rfc5280_6_1_3_a_path_that_was_found_before_still_ends_with_its_certificates() -> None:
    root = authority()
    leaf = root.leaf(HOST, not_after=dt.datetime.fromtimestamp(NOW + DAY, dt.UTC))
    roots = TrustRoots("own", (root.der,))
    assert isinstance(verify_pkix((leaf.der,), (HOST,), roots, NOW), PkixMatch)
    assert isinstance(verify_pkix((leaf.der,), (HOST,), roots, NOW + DAY / 2), PkixMatch)
    late = verify_pkix((leaf.der,), (HOST,), roots, NOW + 2 * DAY)
    assert isinstance(late, PkixMismatch)
    assert late.kind is MismatchKind.EXPIRED
    assert isinstance(verify_pkix((leaf.der,), (HOST,), roots, NOW), PkixMatch)


def test_a_path_to_one_root_says_nothing_of_another() -> None:
    root, other = authority(), authority()
    leaf = root.leaf(HOST)
    assert isinstance(verify_pkix((leaf.der,), (HOST,), TrustRoots("own", (root.der,)), NOW), PkixMatch)
    assert isinstance(verify_pkix((leaf.der,), (HOST,), TrustRoots("other", (other.der,)), NOW), PkixMismatch)


def test_what_is_verified_once_leaves_nothing_behind() -> None:
    """A sender sees the certificates of thousands of hosts; 4 KB of parsed names and extensions each."""
    root = authority()
    roots = TrustRoots("own", (root.der,))
    ders = [root.leaf(f"mx{number}.example.org").der for number in range(20)]
    assert isinstance(verify_once(ders[0], roots), PkixMatch)  # now the root is read
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        found = [type(verify_once(der, roots)) for der in ders]
        gc.collect()
        octets = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert found[0] is PkixMatch
    assert set(found[1:]) == {PkixMismatch}, "they are for other hosts"
    assert octets < 1000 * len(ders)


def verify_once(der: bytes, roots: TrustRoots) -> PkixMatch | PkixMismatch:
    return verify_leaf(read_certificate(der), (), ("mx0.example.org",), roots, NOW, remember=False)
