"""Mechanisms that send the password: PLAIN (RFC 4616) and LOGIN (obsolete, but old mail programs know nothing else)."""

from letterlock.sasl.exchange import Challenge, CheckPassword, Outcome, Rejected
from letterlock.sasl.prepare import Unprepared, prepare


def _checked(user: bytes, password: bytes) -> CheckPassword | Rejected:
    try:
        return CheckPassword(prepare(user), prepare(password))
    except Unprepared as error:
        return Rejected(f"malformed user name or password: {error}")


class Plain:
    """`[authzid] NUL authcid NUL password`. Nobody may act for somebody else."""

    def step(self, response: bytes | None) -> Outcome:
        """Take the only message."""
        if response is None:
            return Challenge(b"")
        parts = response.split(b"\0")
        if len(parts) != 3:
            return Rejected("malformed PLAIN message")
        acting_for, user, password = parts
        if acting_for not in (b"", user):
            return Rejected("one user asks to act for another")
        return _checked(user, password)


class Login:
    """Asks for the user name, then for the password. A name may come as initial response."""

    def __init__(self) -> None:
        self._asked = False
        self._user: bytes | None = None

    def step(self, response: bytes | None) -> Outcome:
        """Take the name or the password."""
        if response is None and not self._asked:
            self._asked = True
            return Challenge(b"Username:")
        if self._user is None:
            self._user = response or b""
            return Challenge(b"Password:")
        return _checked(self._user, response or b"")
