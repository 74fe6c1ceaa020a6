"""A path that was found once holds while the dates of its certificates do, and no longer."""

import datetime as dt

from letterlock.identity.mismatch import MismatchKind
from letterlock.identity.pkix import PkixMatch, PkixMismatch, verify_pkix
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
