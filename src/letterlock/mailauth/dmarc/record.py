"""The DMARC policy record: which TXT record it is, and its tags (RFC 9989 sections 4.7 and 4.8).

Unknown tags are ignored, and so are the tags of RFC 7489 that RFC 9989 removed (pct, rf, ri).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

MAX_RECORD_OCTETS = 8_192  # records have a few hundred bytes; a bound for the work that one of 64 KB would make
MAX_ADDRESSES = 10  # more than two or three are rare; each costs a lookup and a message
_SHOWN_CHARACTERS = 60  # chosen: of a record, in a line of text
_T = TypeVar("_T", bound=StrEnum)

_VERSION = re.compile(rb"v[ \t]*=[ \t]*(?-i:DMARC1)[ \t]*(?:;|$)", re.IGNORECASE)
_TAG = re.compile(r"([a-z]+)[ \t]*=[ \t]*([ -:<-~\t]*)", re.IGNORECASE)
_URI = re.compile(  # RFC 3986 but for , and !, which section 4.8 wants encoded; a size after ! is obsolete
    r"([a-z][a-z0-9+.-]*:(?:[a-z0-9._~:/?#\[\]@$&'()*+=-]|%[0-9a-f]{2})+)(?:![0-9]{1,20}[kmgt]?)?",
    re.IGNORECASE,
)
_FAILURE_OPTIONS = re.compile(r"[01ds](?::[01ds]){0,2}", re.IGNORECASE)


class Policy(StrEnum):
    """What a domain wants done with mail that fails (section 4.7, p)."""

    NONE = "none"
    QUARANTINE = "quarantine"
    REJECT = "reject"


class Alignment(StrEnum):
    """How alike two domains must be (section 4.4)."""

    RELAXED = "r"
    STRICT = "s"


class PublicSuffix(StrEnum):
    """Whether a domain is a public suffix (section 4.7, psd)."""

    YES = "y"
    NO = "n"
    UNKNOWN = "u"


class InvalidDmarcRecord(ValueError):
    """A text that is no policy record. `str()` says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DmarcRecord:
    """A policy record with its defaults filled in.

    `applies` is False when there is neither a valid policy nor an address for reports: such a record changes nothing
    (section 4.10.1). `oddities` are sentences about what was ignored; they hold text from outside.
    """

    policy: Policy
    subdomain_policy: Policy | None
    nonexistent_policy: Policy | None
    public_suffix: PublicSuffix
    testing: bool
    dkim_alignment: Alignment
    spf_alignment: Alignment
    report_addresses: tuple[str, ...]
    failure_addresses: tuple[str, ...]
    failure_options: str
    applies: bool
    oddities: tuple[str, ...] = ()


def dmarc_records(texts: Iterable[bytes]) -> tuple[bytes, ...]:
    """The TXT records that are policy records: those that begin with the version (section 4.10, step 2)."""
    return tuple(text for text in texts if _VERSION.match(text))


def parse_record(text: bytes) -> DmarcRecord:
    """Read a policy record. Raises InvalidDmarcRecord when it does not begin as it must, or has a tag twice.

    Other errors cost only the tag that they are in (section 4.7); `oddities` names them.
    """
    if not _VERSION.match(text):
        raise InvalidDmarcRecord("the record does not begin with v=DMARC1;")
    if len(text) > MAX_RECORD_OCTETS:
        raise InvalidDmarcRecord(f"the record has {len(text)} bytes, more than the {MAX_RECORD_OCTETS} that are read")
    oddities: list[str] = []
    tags = _tags(text.decode("latin-1"), oddities)
    return _record(tags, oddities)


def _tags(text: str, oddities: list[str]) -> dict[str, str]:
    tags: dict[str, str] = {}
    for part in text.split(";"):
        part = part.strip(" \t")
        found = _TAG.fullmatch(part)
        if found is None:
            if part:
                oddities.append(f"{part[:_SHOWN_CHARACTERS]!r} is not a tag with a value")
            continue
        name = found[1].lower()
        if name in tags:  # RFC 6376 section 3.2, whose syntax this is: the whole list is invalid
            raise InvalidDmarcRecord(f"the tag {name[:_SHOWN_CHARACTERS]} stands twice")
        tags[name] = found[2].strip(" \t")
    return tags


def _record(tags: Mapping[str, str], oddities: list[str]) -> DmarcRecord:
    rua = _addresses(tags.get("rua"), "rua", oddities)
    policies = {name: _choice(tags, name, Policy, oddities) for name in ("p", "sp", "np")}
    sound = policies["p"] is not None and all(policies[name] is not None for name in ("sp", "np") if name in tags)
    options = tags.get("fo", "0")
    return DmarcRecord(
        policy=(policies["p"] if sound else None) or Policy.NONE,
        subdomain_policy=policies["sp"] if sound else None,
        nonexistent_policy=policies["np"] if sound else None,
        public_suffix=_choice(tags, "psd", PublicSuffix, oddities) or PublicSuffix.UNKNOWN,
        testing=tags.get("t", "n").lower() == "y",
        dkim_alignment=_choice(tags, "adkim", Alignment, oddities) or Alignment.RELAXED,
        spf_alignment=_choice(tags, "aspf", Alignment, oddities) or Alignment.RELAXED,
        report_addresses=rua,
        failure_addresses=_addresses(tags.get("ruf"), "ruf", oddities),
        failure_options=options if _are_failure_options(options) else "0",
        applies=sound or bool(rua),
        oddities=tuple(oddities),
    )


def _are_failure_options(text: str) -> bool:
    """Whether a value is by the grammar of fo=: 0 or 1, d and s, each once and in any order (section 4.8)."""
    options = text.lower().replace("1", "0").split(":")
    return _FAILURE_OPTIONS.fullmatch(text) is not None and len(set(options)) == len(options)


def _choice(tags: Mapping[str, str], name: str, kind: type[_T], oddities: list[str]) -> _T | None:
    """The value of a tag that has a few; None when it is missing or is another one."""
    value = tags.get(name)
    if value is None:
        return None
    found = next((each for each in kind if each.value == value.lower()), None)
    if found is None:
        oddities.append(f"{name}={value[:_SHOWN_CHARACTERS]!r} is none of {', '.join(kind)}")
    return found


def _addresses(value: str | None, name: str, oddities: list[str]) -> tuple[str, ...]:
    """The URIs of rua or ruf. The maximum size after an exclamation mark is obsolete and left out."""
    if value is None:
        return ()
    found: list[str] = []
    for part in value.split(","):
        uri = _URI.fullmatch(part.strip(" \t"))
        if uri is None or (uri[1].lower().startswith("mailto:") and "@" not in uri[1]):
            oddities.append(f"{name} holds {part[:_SHOWN_CHARACTERS]!r}, which is not an address for reports")
        else:
            found.append(uri[1])
    return tuple(found[:MAX_ADDRESSES])
