"""What is remembered of decisions is what `require` says, for the very same evidence and no other."""

from letterlock.deliver.decision_cache import MAX_REMEMBERED, DecisionCache
from letterlock.mail.envelope import TlsDemand
from letterlock.policy.require import require
from tests.policy.evidence import destination, target


def test_each_evidence_and_each_demand_has_its_own_answer() -> None:
    decision_cache = DecisionCache()
    evidence, host = destination("10 mx.example.net."), target()
    for _ in range(2):
        for demand in TlsDemand:
            assert decision_cache.required(evidence, host, demand) == require(evidence, host, demand)
    assert decision_cache.required(evidence, host, TlsDemand.NONE) is decision_cache.required(
        evidence, host, TlsDemand.NONE
    )


def test_evidence_that_is_gone_never_answers_for_what_came_after_it() -> None:
    decision_cache = DecisionCache()
    for number in range(3 * MAX_REMEMBERED):
        evidence, host = destination(f"{number} mx.example.net."), target()
        assert decision_cache.required(evidence, host, TlsDemand.NONE) == require(evidence, host)
