"""A seeded slice of the comparison with OpenDMARC; `python -m tests.mailauth.opendmarc_agreement` has more."""

import pytest

from tests.mailauth.opendmarc_agreement import run


@pytest.mark.interop
def test_no_difference_from_opendmarc_is_unexplained() -> None:
    ended = run(500, 1)
    assert {"agree: pass none", "agree: fail reject", "agree: fail quarantine", "agree: fail none"} <= set(ended)
