"""Command lines into values (RFC 5321 section 4.1.1). What cannot be one is a BadCommand, which carries its reply."""

import base64
import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn, TypeVar

from letterlock.frozen import frozen_dataclass
from letterlock.mail.addresses import BEYOND_ASCII, InvalidAddress, Mailbox, parse_mailbox
from letterlock.mail.envelope import BodyType
from letterlock.mail.replies import Reply
from letterlock.mail.wishes import (
    NOTHING_SAID,
    NotRfc3461,
    RecipientWishes,
    Ret,
    parse_envid,
    parse_notify,
    parse_orcpt,
)
from letterlock.smtp import server_replies as say

_PATH = r'<((?:"(?:[^"\\]|\\.)*+"|[^<>"\s])*+)>'  # one space before the path is against the RFC, and common
_FROM = re.compile(rf"FROM: ?{_PATH}(?: +(.*))?", re.IGNORECASE)
_TO = re.compile(rf"TO: ?{_PATH}(?: +(.*))?", re.IGNORECASE)
_HELLO_NAME = re.compile(r"[A-Za-z0-9._:/\[\]-]{1,255}")
_BDAT = re.compile(r"([0-9]{1,20})(?: +(LAST))?", re.IGNORECASE)
_PARAMETER = re.compile(rf"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~{BEYOND_ASCII}]+))?")
_MAIL_PARAMETERS = frozenset({"SIZE", "BODY", "REQUIRETLS", "RET", "ENVID", "SMTPUTF8", "AUTH"})
_MECHANISM = re.compile(rb"[A-Z0-9_-]{1,20}")  # RFC 4422 section 3.1
_TAKE_NO_VALUE = ("REQUIRETLS", "SMTPUTF8")
_RCPT_PARAMETERS = frozenset({"NOTIFY", "ORCPT"})
_Value = TypeVar("_Value")
_REMEMBERED = 1024  # lines are bounded by the session; clients repeat the same few commands
POSTMASTER = "postmaster"
MAX_SIZE_DIGITS = 20  # RFC 1870 section 5


class Verb(StrEnum):
    """The commands that the server knows."""

    EHLO = "EHLO"
    HELO = "HELO"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    BDAT = "BDAT"
    RSET = "RSET"
    NOOP = "NOOP"
    VRFY = "VRFY"
    HELP = "HELP"
    QUIT = "QUIT"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH"


_VERBS = {verb.value.encode(): verb for verb in Verb}
_NOT_IMPLEMENTED = frozenset({b"EXPN", b"ETRN", b"TURN", b"ATRN", b"SEND", b"SOML", b"SAML", b"XCLIENT", b"BURL"})
_TAKES_NOTHING = frozenset({Verb.DATA, Verb.RSET, Verb.QUIT, Verb.STARTTLS})
# A browser or a client that sends content without being asked: what follows must not be read as commands.
_FATAL = {
    **dict.fromkeys(
        (b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"OPTIONS", b"CONNECT", b"PATCH", b"PRI"), say.NOT_SMTP
    ),
}


class BadCommand(Exception):
    """A command that is refused by itself. `fatal`: the session cannot go on after it."""

    def __init__(self, reply: Reply, *, fatal: bool = False) -> None:
        super().__init__(str(reply))
        self.reply = reply
        self.fatal = fatal


@frozen_dataclass(frozen=True, slots=True)
class Command:
    """A verb and what stands behind it, without the blanks around it."""

    verb: Verb
    argument: bytes


@frozen_dataclass(frozen=True, slots=True)
class MailArguments:
    """MAIL FROM. `size` is what the client declared, in octets (RFC 1870)."""

    reverse_path: Mailbox | None
    size: int | None
    body_type: BodyType
    requiretls: bool = False
    ret: Ret | None = None
    envid: str | None = None
    smtputf8: bool = False


@frozen_dataclass(frozen=True, slots=True)
class RcptArguments:
    """RCPT TO, and the notifications requested for this recipient; None is `<postmaster>`, without a domain."""

    recipient: Mailbox | None
    wishes: RecipientWishes


@dataclass(frozen=True, slots=True)
class AuthArguments:
    """AUTH (RFC 4954 section 4): a mechanism, and the client's initial response, if it sent one."""

    mechanism: str
    response: bytes | None


@frozen_dataclass(frozen=True, slots=True)
class BdatArguments:
    """BDAT (RFC 3030 section 2): so many octets follow, and whether they are the last."""

    octets: int
    last: bool


@functools.lru_cache(maxsize=_REMEMBERED)
def parse_command(line: bytes) -> Command:
    """Find the verb of a command line. Raises BadCommand."""
    word, _, argument = line.partition(b" ")
    word = word.upper()
    verb = _VERBS.get(word)
    if verb is None:
        _refuse_word(word)
    argument = argument.strip(b" \t")
    if b"\0" in line:
        raise BadCommand(say.HAS_NUL)
    if argument and verb in _TAKES_NOTHING:
        raise BadCommand(say.NO_ARGUMENT)
    return Command(verb, argument)


def _refuse_word(word: bytes) -> NoReturn:
    if word in _FATAL:
        raise BadCommand(_FATAL[word], fatal=True)
    raise BadCommand(say.NOT_IMPLEMENTED if word in _NOT_IMPLEMENTED else say.UNKNOWN_COMMAND)


def parse_hello(argument: bytes) -> str:
    """The name that a client gives itself: not checked against anything (RFC 5321 section 4.1.4). Raises BadCommand."""
    name = argument.decode("ascii", "replace")
    if not _HELLO_NAME.fullmatch(name):
        raise BadCommand(say.BAD_HELLO)
    return name


@functools.lru_cache(maxsize=_REMEMBERED)
def parse_mail(argument: bytes) -> MailArguments:
    """`FROM:<address>` and its parameters SIZE, BODY, REQUIRETLS, RET, ENVID and SMTPUTF8. Raises BadCommand."""
    found = _FROM.fullmatch(_text(argument))
    if not found:
        raise BadCommand(say.BAD_MAIL)
    parameters = _parameters(found[2])
    if parameters.keys() - _MAIL_PARAMETERS or any(parameters.get(word) is not None for word in _TAKE_NO_VALUE):
        raise BadCommand(say.UNKNOWN_PARAMETER)
    smtputf8, requiretls = "SMTPUTF8" in parameters, "REQUIRETLS" in parameters
    _refuse_utf8(argument, smtputf8=smtputf8)
    reverse_path = _mailbox(found[1], "5.1.7") if found[1] else None
    body_type, ret = _body_type(parameters), _wish(parameters, "RET", _ret)
    envid = _wish(parameters, "ENVID", parse_envid)
    return MailArguments(reverse_path, _size(parameters), body_type, requiretls, ret, envid, smtputf8)


@functools.lru_cache(maxsize=_REMEMBERED)
def parse_rcpt(argument: bytes, *, smtputf8: bool = False) -> RcptArguments:
    """`TO:<address>` and its parameters NOTIFY and ORCPT. `smtputf8`: MAIL had it. Raises BadCommand."""
    _refuse_utf8(argument, smtputf8=smtputf8)
    found = _TO.fullmatch(_text(argument))
    if not found or not found[1]:
        raise BadCommand(say.BAD_RCPT)
    parameters = _parameters(found[2])
    if parameters.keys() - _RCPT_PARAMETERS:
        raise BadCommand(say.UNKNOWN_PARAMETER)
    notify, orcpt = _wish(parameters, "NOTIFY", parse_notify), _wish(parameters, "ORCPT", parse_orcpt)
    wishes = NOTHING_SAID if notify is None and orcpt is None else RecipientWishes(notify, orcpt)
    if found[1].lower() == POSTMASTER:  # RFC 5321 section 4.1.1.3
        return RcptArguments(None, wishes)
    return RcptArguments(_mailbox(found[1], "5.1.3"), wishes)


def parse_bdat(argument: bytes) -> BdatArguments:
    """`octets [LAST]`. Raises BadCommand, fatal: the data that follows cannot be distinguished from commands."""
    found = _BDAT.fullmatch(argument.decode("ascii", "replace"))
    if not found:
        raise BadCommand(say.BAD_BDAT, fatal=True)
    return BdatArguments(int(found[1]), found[2] is not None)


def parse_auth(argument: bytes) -> AuthArguments:
    """`mechanism [initial-response]`; a response of `=` is an empty one. Raises BadCommand."""
    mechanism, _, text = argument.partition(b" ")
    if not _MECHANISM.fullmatch(mechanism.upper()):
        raise BadCommand(say.BAD_AUTH)
    response = None if not text else b"" if text == b"=" else parse_sasl(text)
    return AuthArguments(mechanism.decode("ascii").upper(), response)


def parse_sasl(line: bytes) -> bytes:
    """A client's response in base64 (RFC 4954 section 4). Raises BadCommand."""
    try:
        return base64.b64decode(line, validate=True)
    except ValueError:
        raise BadCommand(say.BAD_BASE64) from None


def _text(argument: bytes) -> str:
    try:
        return argument.decode("utf-8")
    except UnicodeDecodeError:
        raise BadCommand(say.NOT_UTF8) from None


def _refuse_utf8(argument: bytes, *, smtputf8: bool) -> None:
    """Beyond ASCII only with SMTPUTF8 (RFC 6531 section 3.3)."""
    if not (smtputf8 or argument.isascii()):
        raise BadCommand(say.NEEDS_SMTPUTF8)


def _mailbox(text: str, status: str) -> Mailbox:
    try:
        return parse_mailbox(text)
    except InvalidAddress as error:
        raise BadCommand(say.reply(501, f"{status} Bad address: {_printable(str(error))}")) from None


def _printable(text: str) -> str:
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text)[:200]


def _parameters(text: str | None) -> dict[str, str | None]:
    parameters: dict[str, str | None] = {}
    for word in (text or "").split():
        found = _PARAMETER.fullmatch(word)
        name = found[1].upper() if found else ""
        if not found or name in parameters or not (word.isascii() or name == "ORCPT"):  # RFC 6533 section 3
            raise BadCommand(say.BAD_PARAMETER)
        parameters[name] = found[2]
    return parameters


def _size(parameters: dict[str, str | None]) -> int | None:
    if "SIZE" not in parameters:
        return None
    digits = parameters["SIZE"] or ""
    if not digits.isdigit() or len(digits) > MAX_SIZE_DIGITS:
        raise BadCommand(say.BAD_PARAMETER)
    return int(digits)


def _ret(text: str) -> Ret:
    try:
        return Ret(text.upper())
    except ValueError:
        raise NotRfc3461("RET is FULL or HDRS") from None


def _wish(parameters: dict[str, str | None], name: str, parse: Callable[[str], _Value]) -> _Value | None:
    """A parameter of RFC 3461, if it was given; it needs a value."""
    if name not in parameters:
        return None
    try:
        return parse(parameters[name] or "")
    except NotRfc3461:
        raise BadCommand(say.BAD_PARAMETER) from None


def _body_type(parameters: dict[str, str | None]) -> BodyType:
    if "BODY" not in parameters:
        return BodyType.SEVEN_BIT
    word = (parameters["BODY"] or "").upper()
    try:
        return BodyType(word)
    except ValueError:  # RFC 3030 section 3 has one that we do not offer: its lines need no ends, and dots no doubling
        raise BadCommand(say.NO_BINARYMIME if word == "BINARYMIME" else say.BAD_PARAMETER) from None
