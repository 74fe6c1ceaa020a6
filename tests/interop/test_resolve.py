"""`letterlock resolve` through a real Unbound: the state, as data and as exit status."""

import json

import pytest

from tests.interop.lab import Lab
from tests.interop.letterlock import Done, letterlock

pytestmark = pytest.mark.interop


def resolve(lab: Lab, name: str, rdtype: str, *extra: str) -> Done:
    """Run the command against the lab."""
    upstream = f"{lab.unbound.address}:{lab.unbound.port}"
    return letterlock("resolve", name, rdtype, "--upstream", upstream, "--anchor", str(lab.anchor), *extra)


@pytest.mark.parametrize(
    ("name", "rdtype", "status", "security"),
    [
        ("nsec.test", "MX", 0, "secure"),
        ("absent.nsec3.test", "A", 0, "secure"),
        ("mx.tree.nsec3.test", "A", 0, "secure"),
        ("plain.test", "MX", 0, "insecure"),
        ("child.optout.test", "SOA", 0, "insecure"),
        ("alien.test", "MX", 0, "insecure"),
    ],
)
def test_the_state_of_an_answer(lab: Lab, name: str, rdtype: str, status: int, security: str) -> None:
    done = resolve(lab, name, rdtype, "--json")
    assert done.status == status, done
    assert json.loads(done.stdout)["security"] == security


@pytest.mark.parametrize(("name", "word"), [("bogus.test", "does not fit the key"), ("expired.test", "expired")])
def test_a_bogus_answer_names_the_broken_link(lab: Lab, name: str, word: str) -> None:
    done = resolve(lab, name, "MX")
    assert done.status == 1, done
    assert "bogus" in done.stdout
    assert word in done.stdout


def test_the_past_is_valid_as_of_the_past(lab: Lab) -> None:
    """At that time the whole chain above the expired zone was not valid yet: still bogus, for another reason."""
    done = resolve(lab, "expired.test", "MX", "--now", "2020-01-15T00:00:00Z")
    assert done.status == 1, done
    assert "not valid" in done.stdout or "inception" in done.stdout, done.stdout
