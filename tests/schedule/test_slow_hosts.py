"""Mail to slow hosts, in the load of `bench.relay --part mixed`, is not late by more than their own slowness."""

from statistics import fmean

import pytest
from bench.mixed_load import SLOW_REPLY_SECONDS, Behaviour

from tests.schedule.trace import EACH, MESSAGE_REPLIES, SETUP_REPLIES, WORKERS, Trace

PER_SECOND = 900.0  # about as many as two cores deliver
SEEDS = range(2)


@pytest.mark.parametrize("domains_each", [1, 5])
def test_slow_hosts_get_the_sessions_that_their_mail_needs(domains_each: int) -> None:
    """No mail is late by much more than a session takes with a host that answers after 0.4 seconds, and no host gets
    more connections than where nothing is learned, but for a few with slow ones."""
    plain, learned = (
        [
            Trace(
                messages=5000 // domains_each,
                domains_each=domains_each,
                per_second=PER_SECOND,
                learn=learn,
                seed=seed,
            )
            for seed in SEEDS
        ]
        for learn in (False, True)
    )
    least = (SETUP_REPLIES + MESSAGE_REPLIES - 1) * SLOW_REPLY_SECONDS
    assert fmean(each.tail_seconds for each in learned) < least + SLOW_REPLY_SECONDS
    longest = [fmean(each.waits(Behaviour.SLOW)[-1] for each in traces) for traces in (plain, learned)]
    assert longest[0] > least + 2.0
    assert longest[1] < least + 2 * SLOW_REPLY_SECONDS
    for before, now in zip(plain, learned, strict=True):
        assert now.sessions[Behaviour.FAST] == before.sessions[Behaviour.FAST]
        assert now.waits(Behaviour.FAST) == before.waits(Behaviour.FAST)
        assert now.sessions.total() < 1.04 * before.sessions.total()
        assert now.most_open[Behaviour.SLOW] <= EACH * WORKERS
