"""A memory as text: it comes back as it was, and a text that is none is refused as such."""

import json
from typing import Any

import pytest

from letterlock.memory.learning import Sighting, VerifiedKey, learn
from letterlock.memory.memory_text import DamagedRecord, from_json, to_json
from letterlock.memory.remembered import Difference, DomainMemory

GOOD = Sighting(
    domain="example.org",
    host="mx.example.org",
    at=1_800_000_000.0,
    hosts=("mx.example.org",),
    encrypted=True,
    certificate=VerifiedKey("ab", "An Authority"),
    dane=True,
    mta_sts=True,
    signed=True,
)
MEMORY = learn(DomainMemory(domain="example.org"), GOOD) or DomainMemory(domain="")
NOTED = {"what": Difference.DANE.value, "host": "mx.example.org", "since": 1.0, "last": 2.0, "count": 1}
WHOLE: dict[str, Any] = json.loads(to_json(MEMORY)) | {"changes": [NOTED]}


def test_it_comes_back_as_it_was() -> None:
    assert from_json("example.org", to_json(MEMORY)) == MEMORY


def _damaged(value: object, wrong: object) -> list[object]:
    """The value with each of its parts replaced by something else, one at a time."""
    if isinstance(value, dict):
        return [wrong, *({**value, key: each} for key in value for each in _damaged(value[key], wrong))]
    if isinstance(value, list):
        return [
            wrong,
            *([*value[:at], each, *value[at + 1 :]] for at in range(len(value)) for each in _damaged(value[at], wrong)),
        ]
    return [wrong]


@pytest.mark.parametrize("wrong", ["x", 5, -1, True, [], {}, ["x"], [[]], {"x": 1}, [None]])
def test_whatever_part_is_damaged_it_is_read_or_refused(wrong: object) -> None:
    refused = 0
    for document in _damaged(WHOLE, wrong):
        try:
            from_json("example.org", json.dumps(document))
        except DamagedRecord:
            refused += 1
    assert refused > 15  # most parts have one type only
