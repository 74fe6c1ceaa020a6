"""What an alias leads to, and the form in which files and databases write it (aliases(5), virtual(5)). Pure."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from letterlock.mail.addresses import InvalidAddress, Mailbox, parse_mailbox

MAX_TARGETS = 10_000  # of one entry: the largest lists that are kept in a file
_ITEM = re.compile(
    r'\s*((?:\|\s*)?"(?:[^"\\]|\\.)*"(?:@[^\s,]+)?|(?:error|:fail):[^\n]*|[^,]*)\s*(?:,|$)', re.IGNORECASE
)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_ESCAPED = re.compile(r"\\(.)")
_CODE = re.compile(r"([45]\d\d)(?:\s+([45]\.\d{1,3}\.\d{1,3}))?\s+")


class BadEntry(ValueError):
    """An entry that cannot be used; `str()` says why."""


@dataclass(frozen=True, slots=True)
class Name:
    """A local part of the domain that is being looked up. `is_final`: it is looked up no further (`\\name`)."""

    local_part: str
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class RefusalEntry:
    """Mail is refused with these words (`error:550 5.7.1 This list is closed`)."""

    text: str
    code: int = 550
    status: str = "5.7.1"


@dataclass(frozen=True, slots=True)
class Discard:
    """Mail is accepted and thrown away (`/dev/null`)."""


@dataclass(frozen=True, slots=True)
class Include:
    """A file with more targets (`:include:/path`)."""

    path: str


@dataclass(frozen=True, slots=True)
class Ending:
    """Mail ends here, at a command (`|/usr/bin/vacation ann`) or in a Maildir (`/var/mail/archive/`).

    `place` is what delivery takes it for; None: it may not be used now, and `why` says why.
    """

    text: str
    place: object | None
    why: str = ""


Target = Mailbox | Name | RefusalEntry | Discard | Include | Ending
Entry = tuple[Target, ...]


def no_ending(text: str) -> Ending:
    """Refuse commands and files, as a table does unless it allows them. Raises BadEntry."""
    if text.startswith("|"):
        raise BadEntry(
            "a command is not run from here: add allow_commands = true to the [table], "
            'or [route."ADDRESS"] with next_hop = "command:PATH"'
        )
    raise BadEntry(
        "a file is not written from here: add allow_maildirs = true to the [table], "
        'or [route."ADDRESS"] with next_hop = "maildir:PATH"'
    )


def parse_targets(text: str, ending: Callable[[str], Ending] = no_ending) -> Entry:
    """The right side of an alias: addresses, names and the rest, with commas between. Raises BadEntry.

    `ending` reads commands and files, `|...` and `/...`.
    """
    targets = tuple(_target(item, ending) for item in _items(text))
    if len(targets) > MAX_TARGETS:
        raise BadEntry(f"more than {MAX_TARGETS} targets")
    return targets


def _items(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        found = _ITEM.match(text, at)
        if found is None or found.end() == at:
            raise BadEntry(f"{text[at : at + 40]!r} cannot be read")
        at = found.end()
        if item := found[1].strip():
            yield item


def _target(item: str, ending: Callable[[str], Ending]) -> Target:
    plain = _unquoted(item)
    lower = plain.lower()
    if plain.startswith("|"):
        return ending("|" + _unquoted(plain[1:].strip()).strip())
    if lower.startswith(":include:"):
        return _include(plain[len(":include:") :].strip())
    if lower.startswith(("error:", ":fail:")):
        return _refusal(plain.lstrip(":").partition(":")[2].strip())
    if plain in ("/dev/null", ":blackhole:"):
        return Discard()
    if plain.startswith("/"):
        return ending(plain)
    return _address(plain if "@" in plain and not item.endswith('"') else item)


def _unquoted(text: str) -> str:
    return _ESCAPED.sub(r"\1", text[1:-1]) if _QUOTED.fullmatch(text) else text


def _include(path: str) -> Include:
    if not path.startswith("/"):
        raise BadEntry("the path after :include: begins with /")
    return Include(path)


def _refusal(text: str) -> RefusalEntry:
    found = _CODE.match(text)
    words = text[found.end() :] if found else text
    if not (words.isascii() and words.isprintable()) or len(words) > 400:  # a reply's line has 512
        raise BadEntry("the text of a refusal is printable ASCII, at most 400 characters")
    if found is None:
        return RefusalEntry(words or "Not accepted")
    code = int(found[1])
    status = found[2] or ("5.7.1" if code >= 500 else "4.7.1")  # the first digit decides
    if status[0] != found[1][0]:
        raise BadEntry(f"{code} and {status} contradict each other")
    return RefusalEntry(words or "Not accepted", code, status)


def _address(text: str) -> Mailbox | Name:
    is_final = text.startswith("\\")
    text = text.removeprefix("\\")
    domain_given = "@" in text and not (text.startswith('"') and text.endswith('"'))
    try:
        mailbox = parse_mailbox(text if domain_given else f"{text}@local.invalid")
    except InvalidAddress as error:
        raise BadEntry(f"{text!r} is no address: {error}") from None
    return mailbox if domain_given else Name(mailbox.local_part, is_final)
