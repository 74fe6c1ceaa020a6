"""The lab is what it claims to be, said by programs that are not ours."""

import pytest

from tests.interop.lab import Lab, delv
from tests.interop.programs import run, wait_until

pytestmark = pytest.mark.interop


@pytest.mark.parametrize(
    ("name", "rdtype", "expected"),
    [
        ("nsec.test", "MX", "fully validated"),
        ("nsec3.test", "MX", "fully validated"),
        ("absent.nsec.test", "A", "negative response, fully validated"),
        ("absent.nsec3.test", "A", "negative response, fully validated"),
        ("plain.test", "MX", "unsigned answer"),
        ("child.optout.test", "SOA", "unsigned answer"),
        ("bogus.test", "MX", "resolution failed"),
        ("expired.test", "MX", "resolution failed"),
    ],
)
def test_delv_finds_every_state_that_the_lab_was_built_for(lab: Lab, name: str, rdtype: str, expected: str) -> None:
    assert expected in delv(lab, name, rdtype)


def test_swaks_hands_postfix_a_message_over_tls(lab: Lab) -> None:
    place = lab.postfix.place
    message = ("--from", "ann@sender.test", "--to", "bob@nsec.test", "--h-Subject", "straight into the lab")
    run("swaks", "--server", place.address, "--port", str(place.port), "--tls", *message)
    wait_until(lambda: len(lab.postfix.find("straight into the lab")) == 1, what="the message to arrive")
