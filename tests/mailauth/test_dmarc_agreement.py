"""A seeded slice of the comparison with the package dmarc; `python -m tests.mailauth.dmarc_agreement` has more."""

from tests.mailauth.dmarc_agreement import run


def test_no_difference_from_the_package_dmarc_is_unexplained() -> None:
    ended = run(500, 1)
    assert {"agree: pass none", "agree: fail reject", "agree: fail quarantine", "agree: fail none"} <= set(ended)
