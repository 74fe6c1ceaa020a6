"""What an exchange asks of its driver, and how it ends."""

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Challenge:
    """Send this, and give the client's answer to `step`."""

    data: bytes


@dataclass(frozen=True, slots=True)
class CheckPassword:
    """The exchange ends with this: the user is who they claim to be when the password is theirs."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class NeedCredential:
    """Give the user's SCRAM credential to `continue_with`; a false one when there is no such user."""

    user: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """The user has proved who they are. Whether they may act for `acting_for`, if it is given, is not decided here."""

    user: str
    acting_for: str | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """The exchange failed. `why` is for the log, not for the client."""

    why: str
    user: str | None = None


Outcome = Challenge | CheckPassword | NeedCredential | Accepted | Rejected


class Exchange(Protocol):
    """One try to authenticate."""

    def step(self, response: bytes | None) -> Outcome:
        """Take the client's message; None when it sent no initial response."""
