"""Frozen dataclasses for the path of each message: a changed copy is what `dataclasses.replace` makes."""

from dataclasses import replace
from typing import Any

import pytest

from letterlock.frozen import changed
from letterlock.policy.decision import Defer, Encryption, Requirement
from letterlock.policy.evidence import DestinationEvidence
from letterlock.routing.routes import NextHop

REQUIREMENT = Requirement(encryption=Encryption.OPTIONAL, authentication=None, sni="mx", fallback=None, reasons=())
EVIDENCE = DestinationEvidence(next_hop=NextHop("example.org", 25), mx=None, rule=None)


@pytest.mark.parametrize("one", [REQUIREMENT, EVIDENCE, NextHop("example.org", 25), Defer(reasons=())])
def test_a_copy_without_changes_is_equal(one: Any) -> None:
    assert changed(one) == one
    assert changed(one) is not one
    assert type(changed(one)) is type(one)


def test_what_is_named_changes_and_nothing_else() -> None:
    changes: dict[str, Any] = {"sni": None, "requiretls": True}
    assert changed(REQUIREMENT, **changes) == replace(REQUIREMENT, **changes)
    assert (REQUIREMENT.sni, REQUIREMENT.requiretls) == ("mx", False)


def test_a_copy_of_evidence_is_other_evidence() -> None:
    """What was decided on the one says nothing of the other."""
    assert changed(EVIDENCE, at=1.0).identity is not EVIDENCE.identity


def test_fields_that_nobody_can_set_are_refused() -> None:
    changes: dict[str, Any] = {"colour": "red"}
    with pytest.raises(TypeError):
        changed(REQUIREMENT, **changes)
    changes = {"identity": object()}
    with pytest.raises(TypeError):
        changed(EVIDENCE, **changes)
