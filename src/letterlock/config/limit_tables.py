"""`[limit."NAME"]` and `[dns_list."ZONE"]`: how much may be sent in a time, and whose addresses are not welcome."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, PlainValidator, model_validator

from letterlock.config.checked_values import ClientNetwork, IpAddress, text_of
from letterlock.config.declared import Table
from letterlock.config.mistakes import guess, wrong
from letterlock.receive.check_dns_lists import DnsList
from letterlock.receive.rate_limits import Per, RateLimit

MAX_COUNT = 10**12  # chosen: more than anybody counts within a window, and exact as a float
MAX_WINDOW_SECONDS = 7 * 86400.0  # chosen: a longer window would outlast most restarts of the machine
MAX_DELAY_SECONDS = 60.0  # clients wait for five minutes, and each one that waits takes a connection


def _per(value: object) -> Per:
    text, known = text_of(value), [each.value for each in Per]
    if text not in known:
        raise wrong(f"must be one of {', '.join(known)}, not {text!r}", guess(text, known))
    return Per(text)


class LimitTable(Table):
    """How much may be sent within a time; more is put off with 450, or with 421 for connections."""

    per: Annotated[Per, PlainValidator(_per, json_schema_input_type=str)] = Field(
        description="Whose mail is counted together: `client` (an IPv4 address or an IPv6 /64), `network` (an IPv4 /24 "
        "or an IPv6 /48), `user` (who logged in), or `recipient_domain`, for which only `recipients` count."
    )
    window_seconds: float = Field(
        3600.0, ge=1, le=MAX_WINDOW_SECONDS, description="The time in which so much may be sent."
    )
    connections: int | None = Field(None, ge=1, le=MAX_COUNT, description="Connections in which mail is sent.")
    messages: int | None = Field(None, ge=1, le=MAX_COUNT, description="Messages.")
    recipients: int | None = Field(None, ge=1, le=MAX_COUNT, description="Recipients of all messages.")
    octets: int | None = Field(None, ge=1024, le=MAX_COUNT, description="Bytes of all messages.")
    delay_seconds: float = Field(
        0.0,
        ge=0,
        le=MAX_DELAY_SECONDS,
        description="Keep the client waiting for so long at most, before it is put off.",
    )
    exempt: list[ClientNetwork] = Field([], max_length=1000, description="Clients without this limit.")

    @model_validator(mode="after")
    def _limits_something(self) -> "LimitTable":
        counted = ("recipients",) if self.per is Per.RECIPIENT_DOMAIN else _COUNTED
        if not any(getattr(self, name) for name in counted):
            raise wrong(f"limits nothing: it needs {' or '.join(counted)}", "add recipients = 1000")
        for name in _COUNTED:
            if name not in counted and getattr(self, name):
                raise wrong(f"{name} cannot be counted by recipient_domain", f"remove {name}", at=name)
        return self


_COUNTED = ("connections", "messages", "recipients", "octets")


class DnsListTable(Table):
    """A DNS blocklist or allowlist (RFC 5782) that `mx` listeners ask about clients."""

    weight: float = Field(
        1.0,
        ge=-100,
        le=100,
        description="The weight of a listing in a client's score; below zero for an allowlist. From a score of 1 on, "
        "recipients are refused with 554, or with 450 while an allowlist cannot be asked.",
    )
    answers: list[IpAddress] = Field(
        [], max_length=256, description='Answers that count, such as `["127.0.0.2"]`. Unset: any in 127.0.0.0/8.'
    )


def rate_limits(tables: Mapping[str, LimitTable]) -> tuple[RateLimit, ...]:
    """The limits."""
    return tuple(
        RateLimit(
            name=name,
            per=each.per,
            window_seconds=each.window_seconds,
            connections=each.connections,
            messages=each.messages,
            recipients=each.recipients,
            octets=each.octets,
            delay_seconds=each.delay_seconds,
            exempt=tuple(each.exempt),
        )
        for name, each in tables.items()
    )


def dns_lists(tables: Mapping[str, DnsListTable]) -> tuple[DnsList, ...]:
    """The lists."""
    return tuple(
        DnsList(zone=zone, weight=each.weight, answers=frozenset(each.answers)) for zone, each in tables.items()
    )
