"""The DMARC records and tree walks among the vectors, whole."""

import json
from typing import Any

import pytest

from letterlock.mailauth.dmarc.record import InvalidDmarcRecord, dmarc_records, parse_record
from letterlock.mailauth.dmarc.walk import walk
from tests.mailauth.dns_world import World
from tests.mailauth.vectors import vectors

RECORDS: list[dict[str, str]] = json.loads((vectors("dmarc") / "records.json").read_text())
WALKS: list[dict[str, Any]] = json.loads((vectors("dmarc") / "tree-walk.json").read_text())


@pytest.mark.parametrize("case", RECORDS, ids=lambda case: case["record"][:40] or "empty")
def test_a_record_applies_or_not(case: dict[str, str]) -> None:
    """Section 4.10.1: without a policy and without an address for reports, no DMARC processing.

    That comes to the verdicts of RFC 7489 for every vector: where the newer standard ignores a removed tag, such as
    ri=bad, the rest of these records has no policy.
    """
    text = case["record"].encode()
    try:
        applies = bool(dmarc_records([text])) and parse_record(text).applies
    except InvalidDmarcRecord:
        applies = False
    assert applies == (case["rfc7489"] == "valid")


@pytest.mark.parametrize("case", WALKS, ids=lambda case: case["what"])
def test_rfc9989_4_10_tree_walk(case: dict[str, Any]) -> None:
    world = World()
    for owner, texts in case["txt"].items():
        world.add(owner, "TXT", *texts)
    found = world.run(walk(case["from_domain"]))
    assert (found.policy[0] if found.policy else None) == case["policy_domain"]
    assert (found.organizational_domain if found.found else None) == case["organizational_domain"]
