"""Where mail ends: an LMTP server on this machine (RFC 2033), a Maildir or a command. Facts of the configuration.

A route names such a place as `lmtp:/run/dovecot/lmtp`, `lmtp:[127.0.0.1]:24` or `maildir:/var/mail/{domain}/{local}`.
Nothing is asked of DNS and no TLS is demanded there, for nothing leaves this machine. An LMTP server anywhere else
(`lmtp:[mail.example.net]:24`) is an `LmtpHost`: a relay host like another, under the same policy, that must offer TLS.
"""

import ipaddress
import re
import shlex
from dataclasses import dataclass

from letterlock.mail.names import InvalidName, canonical_literal, is_address_literal, literal_address, normalise

LMTP_PORT = 24  # chosen: usual for LMTP; RFC 2033 section 5 assigns none and rules out 25
MAX_SOCKET_PATH_OCTETS = 107  # what Linux has room for, unix(7)
MAX_TEMPLATE_OCTETS = 2048  # chosen: half of what a path may have on Linux
PLACEHOLDERS = ("{domain}", "{local}")
_LMTP_HOST = re.compile(r"(\[[^\[\]]+\])(?::(\d{1,5}))?")


class BadFinalHop(ValueError):
    """The text names no place where mail can end; `str()` says what is wrong."""


@dataclass(frozen=True, slots=True)
class LmtpSocket:
    """An LMTP server behind a UNIX socket."""

    path: str

    def __str__(self) -> str:
        return f"lmtp:{self.path}"


@dataclass(frozen=True, slots=True)
class LmtpLoopback:
    """An LMTP server at an IP address of this machine's loopback."""

    address: str
    port: int = LMTP_PORT

    def __str__(self) -> str:
        literal = f"IPv6:{self.address}" if ":" in self.address else self.address
        return f"lmtp:[{literal}]:{self.port}"


@dataclass(frozen=True, slots=True)
class Maildir:
    """One Maildir for each recipient, at an absolute path with `{domain}` and `{local}` in it.

    With `create`, a mailbox is made when its first mail comes; else mail to one that is not there fails.
    """

    template: str
    create: bool = False

    def __str__(self) -> str:
        return f"maildir:{self.template}"


@dataclass(frozen=True, slots=True)
class ReportBox:
    """The reports of others: each message is read as a TLS or DMARC report, and kept for `letterlock reports`."""

    def __str__(self) -> str:
        return "reports:"


@dataclass(frozen=True, slots=True)
class CommandHop:
    """A program that reads each message, started without a shell: its absolute path, and its arguments.

    `user`: who it runs as; None: the user of the server. It is ended after `seconds`, of time and of CPU.
    """

    argv: tuple[str, ...]
    user: str | None = None
    seconds: float = 300.0
    memory_octets: int = 512 << 20

    def __str__(self) -> str:
        return f"command:{shlex.join(self.argv)}"


FinalHop = LmtpSocket | LmtpLoopback | Maildir | ReportBox | CommandHop


@dataclass(frozen=True, slots=True)
class LmtpHost:
    """An LMTP server on another host: a name, or an address literal in brackets, and the port. It must offer TLS."""

    domain: str
    port: int = LMTP_PORT


def parse_final_hop(text: str) -> FinalHop | LmtpHost | None:
    """The place that a route's `next_hop` names; None when it begins with none of the words of such places.

    Raises BadFinalHop.
    """
    kind, colon, rest = text.partition(":")
    match kind.lower() if colon else "":
        case "lmtp":
            return _socket(rest) if rest.startswith("/") else _lmtp_server(rest)
        case "maildir":
            return parse_maildir(rest)
        case "command":
            return parse_command(rest)
        case "reports":
            if rest:
                raise BadFinalHop("nothing follows reports:")
            return ReportBox()
    return None


def _socket(path: str) -> LmtpSocket:
    _refuse_unprintable(path)
    if len(path.encode("utf-8", "surrogateescape")) > MAX_SOCKET_PATH_OCTETS:
        raise BadFinalHop(f"the path of a socket has at most {MAX_SOCKET_PATH_OCTETS} octets")
    return LmtpSocket(path)


def _lmtp_server(text: str) -> LmtpLoopback | LmtpHost:
    found = _LMTP_HOST.fullmatch(text)
    if found is None:
        raise BadFinalHop("an LMTP server is a path, or a host in brackets with a port: lmtp:[127.0.0.1]:24")
    port = int(found[2] or LMTP_PORT)
    if not 1 <= port <= 65535:
        raise BadFinalHop(f"{port} is not a port")
    try:
        if not is_address_literal(_as_literal(found[1])):
            return LmtpHost(normalise(found[1][1:-1]), port)
        literal = _as_literal(found[1])
        address = literal_address(literal)
    except InvalidName as error:
        raise BadFinalHop(f"{found[1]}: {error}") from None
    if ipaddress.ip_address(address).is_loopback:
        return LmtpLoopback(address, port)
    return LmtpHost(canonical_literal(literal), port)


def _as_literal(text: str) -> str:
    """`[mail.example.net]` without its brackets, for it is a name; an address literal as it is."""
    inner = text[1:-1]
    if inner[:5].lower() == "ipv6:" or inner.replace(".", "").isdigit():
        return text
    return inner


def parse_maildir(template: str) -> Maildir:
    """The Maildirs of a path. Raises BadFinalHop."""
    _refuse_unprintable(template)
    if not template.startswith("/"):
        raise BadFinalHop("the path of a Maildir begins with /")
    if len(template.encode("utf-8", "surrogateescape")) > MAX_TEMPLATE_OCTETS:
        raise BadFinalHop(f"the path of a Maildir has at most {MAX_TEMPLATE_OCTETS} octets")
    names = [name for name in template.split("/") if name]
    if not names or any(name in (".", "..") for name in names):
        raise BadFinalHop("the path of a Maildir has no . and no .. in it")
    rest = template
    for placeholder in PLACEHOLDERS:
        rest = rest.replace(placeholder, "")
    if "{" in rest or "}" in rest:
        raise BadFinalHop(f"only {' and '.join(PLACEHOLDERS)} stand for something in the path of a Maildir")
    if any(placeholder in names[0] for placeholder in PLACEHOLDERS):
        raise BadFinalHop("the path of a Maildir begins with a directory that is the same for all mail")
    return Maildir("/" + "/".join(names))


def parse_command(text: str) -> CommandHop:
    """A program and its arguments. Raises BadFinalHop."""
    _refuse_unprintable(text)
    try:
        argv = tuple(shlex.split(text))
    except ValueError:
        raise BadFinalHop("a quote in the command is not closed") from None
    if not argv or not argv[0].startswith("/"):
        raise BadFinalHop("a command begins with the whole path of its program: command:/usr/local/bin/ticket --new")
    if len(text.encode("utf-8", "surrogateescape")) > MAX_TEMPLATE_OCTETS:
        raise BadFinalHop(f"a command has at most {MAX_TEMPLATE_OCTETS} octets")
    if any(character in word for word in argv for character in "{}"):
        raise BadFinalHop("nothing of an address can be part of a command: it is in the program's environment")
    return CommandHop(argv)


def _refuse_unprintable(path: str) -> None:
    if not path.isprintable():
        raise BadFinalHop("the path has characters that cannot be printed")
