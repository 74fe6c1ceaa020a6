"""Guessing passwords is slow: replies to failures are delayed, and a client that fails too often is put off.

All workers count together: else somebody who opens many connections had as many guesses for each of them.
"""

import ipaddress

from letterlock.ports import Rates

FORGET_SECONDS = 900.0  # in a quarter of an hour as many failures are forgotten, one by one, as put a client off
FIRST_DELAY_SECONDS = 1.0  # before the reply to a failure; it doubles with each
MAX_DELAY_SECONDS = 16.0  # below the time-outs of mail programs
MAX_FAILURES_OF_CLIENT = 20  # then a client is put off with 454: people mistype less often, and may share an address
_ROUNDING = 1e-6  # of counts: sums of fractions are not exact
_IPV6_PREFIX = 64  # what anybody gets


class GuessLimiter:
    """Counts failures by client (an IPv4 address, or an IPv6 /64) and by account. Time is an argument (monotonic).

    An account is never locked, only its failures are slow: else anybody could lock anybody out.
    """

    def __init__(self, rates: Rates) -> None:
        """`rates`: the counters that all workers share."""
        self._rates = rates

    def is_put_off(self, client: str, now: float) -> bool:
        """Whether a client has failed too often lately to be heard."""
        most = MAX_FAILURES_OF_CLIENT
        return self._rates.counted(_of_client(client), most, FORGET_SECONDS, now) > most - 1 + _ROUNDING

    def failed(self, client: str, user: str | None, now: float) -> float:
        """Count a failure; how many seconds its reply has to wait."""
        keys = (_of_client(client), _of_account(user)) if user else (_of_client(client),)
        counts = [self._rates.add(key, 1, MAX_FAILURES_OF_CLIENT, FORGET_SECONDS, now) for key in keys]
        return float(min(FIRST_DELAY_SECONDS * 2 ** (round(max(counts)) - 1), MAX_DELAY_SECONDS))

    def succeeded(self, client: str, user: str) -> None:
        """Forget a client's and an account's failures."""
        self._rates.forget(_of_client(client))
        self._rates.forget(_of_account(user))


def _of_client(client: str) -> str:
    if ":" in client:
        client = str(ipaddress.IPv6Network((client.partition("%")[0], _IPV6_PREFIX), strict=False))
    return f"failed logins of client {client}"


def _of_account(user: str) -> str:
    return f"failed logins as {user}"
