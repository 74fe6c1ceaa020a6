"""A short slice of the fuzzing with odd records; the long run is `python -m tests.fuzz.odd_replies_fuzz`."""

import random

import dns.rdatatype
import pytest

from letterlock.lab.zones import Denial
from letterlock.resolver import Answer, FailureKind, LookupFailure, Question
from tests.fuzz.odd_replies_fuzz import Arena, Mattered, judge, run


@pytest.mark.parametrize("seed", [1, 2])
def test_what_a_lookup_does_not_need_does_not_matter(seed: int) -> None:
    ended = run(300, seed)
    assert set(ended) == {"records", "nodata", "nxdomain"}


def test_the_judge_sees_what_matters() -> None:
    arena = Arena(Denial.NSEC, random.Random(1))
    question, other = arena.questions[2], arena.questions[3]
    failure = LookupFailure(question=question, kind=FailureKind.MALFORMED, detail="refused")
    truth = arena.truth[question]
    for found in (failure, arena.truth[other]):
        with pytest.raises(Mattered):
            judge(question, truth, found, 0.0)
    with pytest.raises(Mattered, match="CPU"):
        judge(question, truth, truth, 1.0)
    assert isinstance(truth, Answer)
    assert truth.question == Question(question.name, dns.rdatatype.MX)
