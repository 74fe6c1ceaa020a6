"""The lines that Dovecot's auth service and its clients exchange (Dovecot Authentication Protocol 1.2). Pure.

Dovecot 2.4 sends nothing before it has read our VERSION, and then offers what that version knows: with minor version 2
no mechanism with channel binding, which only it and the program that ended TLS could check together.
"""

import base64
import binascii
import ipaddress
import re
from dataclasses import dataclass, field
from enum import StrEnum

MAX_LINE_OCTETS = 16_384  # the protocol's own bound, "expected to fit into 16384 bytes"; more ends the connection
MAX_REQUEST_OCTETS = 16_000  # of ours: Dovecot 2.3 drops who sends 16,384 or more, and with them everybody's logins
MAX_GREETING_LINES = 100  # chosen: Dovecot has some twenty mechanisms
MAX_USER_OCTETS = 320  # the longest mailbox has 64 + 1 + 255 octets (RFC 5321 section 4.5.3.1)
_MAJOR = 1  # that is all there has been since Dovecot 1.0
_MINOR = 2  # the newest without channel binding
_ESCAPES = {"0": "\0", "1": "\1", "t": "\t", "r": "\r", "n": "\n"}
_ESCAPED = re.compile("\1(.)", re.DOTALL)
_NUMBER = re.compile(r"[0-9]{1,10}")  # of a request: 32 bits
_MECHANISM = re.compile(r"[A-Z0-9_-]{1,20}")  # RFC 4422 section 3.1


class BadAuthLine(ValueError):
    """What came is not the protocol; nothing after it can be relied on."""


class AuthFinding(StrEnum):
    """How Dovecot answers a client's message."""

    CONTINUES = "CONT"
    SUCCEEDED = "OK"
    FAILED = "FAIL"


@dataclass(frozen=True, slots=True)
class AuthAnswer:
    """An answer to the request of a number. `data` is for the client; None: there is none.

    `may_enter`: a user whose credentials are right may be denied all the same (`nologin`, `proxy`). `temporary`: nobody
    knows whether they are right. `why` is for the log.
    """

    number: int
    finding: AuthFinding
    data: bytes | None = field(default=None, repr=False)
    user: str | None = None
    may_enter: bool = True
    temporary: bool = False
    why: str = "authentication failure"


class AuthGreeting:
    """What Dovecot says before the first request: give it line by line to `feed` until that is True."""

    def __init__(self) -> None:
        self._mechanisms: list[str] = []
        self._lines = 0
        self._has_version = False

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """The mechanisms that may be offered to clients, in Dovecot's order."""
        return tuple(self._mechanisms)

    def feed(self, line: bytes) -> bool:
        """Take a line; True when it was the last. Raises BadAuthLine."""
        self._lines += 1
        word, *fields = _fields(line)
        if self._lines > MAX_GREETING_LINES:
            raise BadAuthLine("its greeting has no end")
        if word == "VERSION":
            if not fields or fields[0] != str(_MAJOR):
                raise BadAuthLine("it speaks another version of the protocol")
            self._has_version = True
        if word == "MECH" and fields and "private" not in fields[1:] and _MECHANISM.fullmatch(fields[0]):
            self._mechanisms.append(fields[0])
        if word == "DONE" and not self._has_version:
            raise BadAuthLine("it has sent no protocol version")
        return word == "DONE"


def introduction(identity: int) -> bytes:
    """Our side of the handshake. `identity` differs between the connections of all clients."""
    return b"VERSION\t%d\t%d\nCPID\t%d\n" % (_MAJOR, _MINOR, identity)


def auth_request(number: int, mechanism: str, *, client: str, met_at: str | None, response: bytes | None) -> bytes:
    """A request of somebody who came inside TLS. Raises BadAuthLine if the response is longer than Dovecot reads."""
    words = ["AUTH", str(number), mechanism, "service=smtp", "nologin", "secured=tls"]
    if met_at is not None and _is_address(met_at):
        words.append(f"lip={met_at}")
    if _is_address(client):
        words.append(f"rip={client}")
    if response is not None:
        words.append(f"resp={base64.b64encode(response).decode()}")  # it must be the last
    return _bounded("\t".join(words))


def continuation(number: int, response: bytes) -> bytes:
    """The client's answer to a challenge. Raises BadAuthLine."""
    return _bounded(f"CONT\t{number}\t{base64.b64encode(response).decode()}")


def cancellation(number: int) -> bytes:
    """The client went away in the middle of an exchange."""
    return b"CANCEL\t%d\n" % number


def read_auth_answer(line: bytes) -> AuthAnswer | None:
    """Read a line after the greeting; None if it answers no request. Raises BadAuthLine."""
    word, *fields = _fields(line)
    if word not in (*AuthFinding,):
        return None  # MECH again after a reload, CANCELLED (protocol 1.4), or what a later version adds
    if not fields or not _NUMBER.fullmatch(fields[0]):
        raise BadAuthLine("an answer without the number of a request")
    number, finding = int(fields[0]), AuthFinding(word)
    if finding is AuthFinding.CONTINUES:
        return AuthAnswer(number, finding, _data(fields[1] if len(fields) > 1 else ""))
    values = dict(_value(each) for each in fields[1:])
    user = values.get("user") or None
    code = values.get("code", "")
    data = _data(values["resp"]) if "resp" in values else None
    if finding is AuthFinding.SUCCEEDED:
        if user is None or len(user.encode()) > MAX_USER_OCTETS or not user.isprintable():
            raise BadAuthLine("it accepts a user without a name that could be used")
        may_enter = not values.keys() & {"nologin", "proxy"}
        return AuthAnswer(number, finding, data, user, may_enter, why="" if may_enter else "the user may not log in")
    temporary = "temp" in values or code == "temp_fail"
    return AuthAnswer(number, finding, data, user, temporary=temporary, why=_why(values.keys() | {code}))


def _why(said: set[str]) -> str:
    """The reason of a failure: flags in Dovecot 2.3, a code in 2.4."""
    for flags, why in (
        ({"temp", "temp_fail"}, "Dovecot reports a temporary failure"),
        ({"authz", "authz_fail"}, "one user asks to act for another"),
        ({"user_disabled", "login_disabled"}, "the user is disabled"),
        ({"pass_expired"}, "the password has expired"),
    ):
        if flags & said:
            return why
    return "authentication failure"


def _bounded(line: str) -> bytes:
    octets = line.encode() + b"\n"
    if len(octets) > MAX_REQUEST_OCTETS:
        raise BadAuthLine("the message is longer than Dovecot accepts")
    return octets


def _fields(line: bytes) -> list[str]:
    """The fields of a line, unescaped. Raises BadAuthLine."""
    if not line.endswith(b"\n"):
        raise BadAuthLine("a line without its end")
    try:
        return [_ESCAPED.sub(_unescaped, each) for each in line[:-1].decode().split("\t")]
    except UnicodeDecodeError:
        raise BadAuthLine("a line that is not UTF-8") from None


def _unescaped(found: re.Match[str]) -> str:
    return _ESCAPES.get(found[1], found[1])


def _value(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _data(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadAuthLine("data that is not base64") from None


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:  # a path, or a name
        return False
    return True
