"""`[milter."NAME"]` and `[policy_service."NAME"]`: programs that decide on mail as it comes in."""

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, PlainValidator

from letterlock.config.checked_values import text_of
from letterlock.config.declared import Table
from letterlock.config.mistakes import guess, wrong
from letterlock.net.service_address import ServiceAddress
from letterlock.receive.ask_milter import Milter
from letterlock.receive.ask_policy import PolicyService

_HINT = 'write "unix:/run/rspamd/milter.sock" or "127.0.0.1:11332"'
MAX_SECONDS = 300.0  # a client waits at RCPT for five minutes (RFC 5321 section 4.5.3.2.3)


def _address(value: object) -> ServiceAddress:
    text = text_of(value)
    for prefix in ("unix:", "local:"):
        if text.startswith(prefix):
            path = text.removeprefix(prefix)
            if not path.startswith("/"):
                raise wrong(f"{text!r}: the path of a socket begins with /", _HINT)
            return ServiceAddress(path=path)
    host, colon, port = text.removeprefix("inet:").rpartition(":")
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        address = None
    if address is None or not colon or not (port.isascii() and port.isdigit()) or not 1 <= int(port) <= 65535:
        raise wrong(f"{text!r} is neither a socket nor an IP address and a port", _HINT)
    return ServiceAddress(host=str(address), port=int(port))


Service = Annotated[ServiceAddress, PlainValidator(_address, json_schema_input_type=str)]
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
