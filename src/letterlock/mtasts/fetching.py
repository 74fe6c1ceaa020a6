"""The result of fetching a policy (RFC 8461 section 3.3), in the words of TLS reports (RFC 8460 section 4.3)."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class FetchFailure(StrEnum):
    """Why there is no policy; the value is the TLSRPT result type (RFC 8460 sections 4.3.2.2)."""

    FETCH = "sts-policy-fetch-error"  # not reached, not answered in time, or with anything but the text
    WEBPKI = "sts-webpki-invalid"  # the certificate is not one for mta-sts.<domain>, valid and publicly trusted
    INVALID = "sts-policy-invalid"  # there is a text, and it is no policy


@dataclass(frozen=True, slots=True)
class Fetched:
    """The text as it was sent, whole."""

    body: bytes


@dataclass(frozen=True, slots=True)
class FetchFailed:
    """No text. `detail` says why, for people, in one line without control characters."""

    kind: FetchFailure
    detail: str


PolicyFetch = Callable[[str, Sequence[str]], Awaitable[Fetched | FetchFailed]]
"""Fetch the policy from a host (`mta-sts.<domain>`) at the given addresses. Never raises, ends within its deadline."""
