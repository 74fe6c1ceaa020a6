"""The part for people: what became of the message, of each recipient, and why. And how remote text is made harmless."""

import datetime as dt
import email.utils
import re
import textwrap

from letterlock.dsn.original import Original
from letterlock.dsn.reports import Fate, Report, ToldReason, ToldRecipient

MAX_TEXT_CHARACTERS = 800  # chosen: of what a server said, in a mail for people
MAX_REASONS = 10  # chosen: what a reader takes in
_WIDTH = 74  # RFC 5322 section 2.1.1 recommends at most 78
_UTF8_XTEXT = re.compile(r"\\x\{(10[0-9A-F]{4}|[0-9A-F]{2,5})\}")


def text_for_people(report: Report, hostname: str, original: Original, *, attached: str) -> str:
    """The explanation, in lines that end with LF. `attached` says what of the message is."""
    pieces = list(dict.fromkeys(each.advice for each in report.recipients if each.advice))
    common = pieces[0] if len(pieces) == 1 else ""
    blocks = [
        f"This is the mail server {hostname}.",
        _wrapped(_what_became_of_it(report)),
        *_names(original),
        *(_told(each, report.fate, with_advice=not common) for each in report.recipients),
        *([_wrapped(f"What you can do: {safe(common)}")] if common else []),
        _wrapped(attached),
    ]
    return "\n\n".join(blocks) + "\n"


def _names(original: Original) -> list[str]:
    """The message's subject and ID, because nobody remembers the second at which it was sent."""
    lines = [f"  Subject:    {original.subject}"] if original.subject else []
    lines += [f"  Message-ID: {original.message_id}"] if original.message_id else []
    return ["\n".join(lines)] if lines else []


def date(moment: float) -> str:
    """A time in seconds since 1970 as a Date field has it (RFC 5322 section 3.3), in UTC."""
    return email.utils.format_datetime(dt.datetime.fromtimestamp(moment, dt.UTC))


def safe(text: str) -> str:
    """Remote text for people: bounded, in one line, without control characters."""
    shown = "".join(character if character.isprintable() else " " for character in text[: 2 * MAX_TEXT_CHARACTERS])
    shown = " ".join(shown.split())
    return shown if len(shown) <= MAX_TEXT_CHARACTERS else shown[:MAX_TEXT_CHARACTERS] + "..."


def decode_utf8_xtext(address: str) -> str:
    """What an address of type utf-8 stands for (RFC 6533 section 3, EmbeddedUnicodeChar)."""
    return _UTF8_XTEXT.sub(lambda found: _character(int(found[1], 16)), address)


def _character(number: int) -> str:
    return "?" if 0xD800 <= number <= 0xDFFF else chr(number)  # surrogates: no characters, and not to be encoded


def ascii_only(text: str, limit: int = MAX_TEXT_CHARACTERS) -> str:
    """Remote text for a header field: printable ASCII in one line, bounded."""
    spaced = re.sub(r"[\t\r\n]+", " ", text)
    return "".join(character if " " <= character <= "~" else "?" for character in spaced)[:limit]


def _what_became_of_it(report: Report) -> str:
    count = len(report.recipients)
    whom = "this recipient" if count == 1 else f"these {count} recipients"
    message = f"Your message of {date(report.accepted_at)}"
    if report.fate is Fate.RELAYED:
        return (
            f"{message} was handed to the next mail server of {whom}, which does not confirm "
            "delivery: you get no further notice when it arrives. If delivery fails, that server should notify you."
        )
    if report.retry_until is None:
        return f"{message} could not be delivered to {whom}. It is not tried again."
    return (
        f"{message} could not be delivered to {whom} yet. It is tried again until {date(report.retry_until)}; you do "
        "not need to do anything, and you will be notified if it fails."
    )


def _told(recipient: ToldRecipient, fate: Fate, *, with_advice: bool) -> str:
    lines = [f"  <{safe(str(recipient.recipient))}>"]
    kind, original = recipient.original or ("", "")
    original = decode_utf8_xtext(original) if kind.lower() == "utf-8" else original
    if original and original != str(recipient.recipient):
        lines.append(_wrapped(f"You wrote to: {safe(original)}", "    "))
    if fate is not Fate.RELAYED:
        lines.append(_wrapped(f"Why: {safe(recipient.text)} ({recipient.status})", "    "))
    if recipient.remote_reply:
        lines.append(_wrapped(f"The other server said: {safe(recipient.remote_reply)}", "    "))
    lines += [_reason(each, recipient.text) for each in recipient.reasons[:MAX_REASONS]]
    if with_advice and recipient.advice:
        lines.append(_wrapped(f"What you can do: {safe(recipient.advice)}", "    "))
    return "\n".join(lines)


def _reason(reason: ToldReason, told: str) -> str:
    """A reason, without its sentence if the text above already has it."""
    words = f"{reason.subject}: {reason.section}; {reason.code}" if reason.sentence in told else str(reason)
    return _wrapped(f"- {safe(words)}", "    ", hanging="      ")


def _wrapped(text: str, indent: str = "", *, hanging: str | None = None) -> str:
    following = indent if hanging is None else hanging
    return textwrap.fill(
        text, _WIDTH, initial_indent=indent, subsequent_indent=following, break_long_words=False, break_on_hyphens=False
    )
