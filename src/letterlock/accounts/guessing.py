"""Guessing passwords is slow: replies to failures are delayed, and a client that fails too often is put off."""

import ipaddress
import math

from letterlock.recent import Recent

FORGET_SECONDS = 900.0  # failures older than a quarter of an hour do not count
FIRST_DELAY_SECONDS = 1.0  # before the reply to a failure; it doubles with each
MAX_DELAY_SECONDS = 16.0  # below the time-outs of mail programs
MAX_FAILURES_OF_CLIENT = 20  # then a client is put off with 454: people mistype less often, and may share an address
MAX_REMEMBERED = 10_000  # clients and accounts; of more, the oldest are forgotten
_IPV6_PREFIX = 64  # what anybody gets


class GuessLimiter:
    """Counts failures by client (an IPv4 address, or an IPv6 /64) and by account. Time is an argument (monotonic).

    An account is never locked, only its failures are slow: else anybody could lock anybody out.
    """

    def __init__(self) -> None:
        self._failures: Recent[str, int] = Recent(seconds=FORGET_SECONDS, size=MAX_REMEMBERED)

    def is_put_off(self, client: str, now: float) -> bool:
        """Whether a client has failed too often lately to be heard."""
        return self._count(_network(client), now) >= MAX_FAILURES_OF_CLIENT

    def failed(self, client: str, user: str | None, now: float) -> float:
        """Count a failure; how many seconds its reply has to wait."""
        keys = [_network(client)] + ([f"user {user}"] if user else [])
        worst = 0
        for key in keys:
            count = self._count(key, now) + 1
            worst = max(worst, count)
            self._failures.put(key, count, since=now, until=math.inf)
        return float(min(FIRST_DELAY_SECONDS * 2 ** min(worst - 1, 10), MAX_DELAY_SECONDS))

    def succeeded(self, client: str, user: str) -> None:
        """Forget a client's and an account's failures."""
        self._failures.forget(_network(client))
        self._failures.forget(f"user {user}")

    def _count(self, key: str, now: float) -> int:
        return self._failures.get(key, now) or 0


def _network(client: str) -> str:
    if ":" not in client:
        return client
    return str(ipaddress.IPv6Network((client.partition("%")[0], _IPV6_PREFIX), strict=False))
