"""`[milter."NAME"]` and `[policy_service."NAME"]`: programs that decide on mail as it comes in."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from letterlock.config.checked_values import Service
from letterlock.config.declared import Table
from letterlock.config.mistakes import guess, wrong
from letterlock.receive.ask_milter import Milter
from letterlock.receive.ask_policy import PolicyService

MAX_SECONDS = 300.0  # a client waits at RCPT for five minutes (RFC 5321 section 4.5.3.2.3)


_AWAY_TEXT = (
    "If it cannot be reached, or breaks the protocol: `tempfail` puts mail off with 451, `accept` goes on without it, "
    "`reject` answers 550, `shutdown` answers 421 and ends the session."
)


class MilterTable(Table):
    """A mail filter that speaks the milter protocol: rspamd, opendkim, clamav-milter. A `[[listener]]` names it."""

    address: Service = Field(description='Where it listens: `"unix:/PATH"` or `"127.0.0.1:11332"`.')
    timeout_seconds: float = Field(
        30.0, gt=0, le=MAX_SECONDS, description="How long it may take to connect, and for each answer."
    )
    when_away: Literal["tempfail", "accept", "reject", "shutdown"] = Field("tempfail", description=_AWAY_TEXT)


class PolicyServiceTable(Table):
    """A service that speaks Postfix's policy delegation protocol: postgrey, policyd. A `[[listener]]` names it."""

    address: Service = Field(description='Where it listens: `"unix:/PATH"` or `"127.0.0.1:10023"`.')
    timeout_seconds: float = Field(
        100.0, gt=0, le=MAX_SECONDS, description="How long it may take to connect, and for each answer."
    )
    when_away: Literal["tempfail", "accept", "reject", "shutdown"] = Field("tempfail", description=_AWAY_TEXT)


def milters(tables: Mapping[str, MilterTable]) -> dict[str, Milter]:
    """The filters by name."""
    return {
        name: Milter(name=name, address=each.address, seconds=each.timeout_seconds, when_away=each.when_away)
        for name, each in tables.items()
    }


def policy_services(tables: Mapping[str, PolicyServiceTable]) -> dict[str, PolicyService]:
    """The services by name."""
    return {
        name: PolicyService(name=name, address=each.address, seconds=each.timeout_seconds, when_away=each.when_away)
        for name, each in tables.items()
    }


def check_filter(name: str, known: Mapping[str, object], table: str, at: tuple[str | int, ...]) -> None:
    """Raise a mistake for a filter that no table describes."""
    if name not in known:
        hint = guess(name, known) or f'add [{table}."{name}"] with address = "127.0.0.1:11332"'
        raise wrong(f"there is no [{table}] {name!r}", hint, at=at)
