"""Sign and verify the same messages with ours and a peer, and explain each difference by a standard's section."""

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from letterlock.mailauth.dkim.canonical import Form
from letterlock.mailauth.dkim.sign import sign_with
from letterlock.mailauth.dkim.signing_key import SigningKey
from letterlock.mailauth.dkim.verify import DkimVerdict, examine
from letterlock.mailauth.message import split
from tests.mailauth.agreement.messages import message, on_the_way
from tests.mailauth.answers import txt
from tests.mailauth.dkim.forging import ed25519_key, rsa_key

SIGNED_AT = 1_760_000_000  # peers look at the real clock: it must not be in the future
KEYS = (ed25519_key(), SigningKey("example.org", "rsa", rsa_key()))
FORMS = [f"{header}/{body}" for header in Form for body in Form]


class Verifier(Protocol):
    """A peer that verifies."""

    name: str

    def passes(self, contents: Sequence[bytes]) -> list[bool]:
        """Whether any signature of each message holds."""


@dataclass
class Tally:
    """What came of the cases of one way."""

    way: str
    cases: int = 0
    passed: int = 0
    explained: Counter[str] = field(default_factory=Counter)
    unexplained: list[bytes] = field(default_factory=list)

    def __str__(self) -> str:
        explained = "; ".join(f"{count} {why}" for why, count in self.explained.items()) or "none"
        return (
            f"{self.way}: {self.cases} messages, {self.passed} pass with us; "
            f"differences explained: {explained}; unexplained: {len(self.unexplained)}"
        )


def ours(content: bytes) -> bool:
    """Whether any signature holds, by us."""
    examination = examine(split(content))
    zone = {key.record_name: txt(key.record_name, key.record) for key in KEYS}
    answers = {name: zone.get(name, txt(name)) for name in examination.key_names}
    return any(verdict.passed for verdict in examination.judge(answers, SIGNED_AT))


def signed_by_us(cases: int, seed: int, *, repeated: bool = True) -> list[bytes]:
    """Messages with our signatures: one or both algorithms."""
    chance = random.Random(seed)
    contents = []
    for _ in range(cases):
        content = message(chance, repeated=repeated)
        keys = chance.choice([KEYS[:1], KEYS[1:], KEYS])
        contents.append(sign_with(keys, split(content), SIGNED_AT) + content)
    return contents


def changed(contents: Sequence[bytes], seed: int) -> list[bytes]:
    """The same after something happened to each on the way."""
    chance = random.Random(seed)
    return [on_the_way(content, chance) for content in contents]


def compared(way: str, contents: Sequence[bytes], peer: Verifier) -> Tally:
    """Our verdicts beside the peer's."""
    tally = Tally(way, len(contents))
    for content, theirs in zip(contents, peer.passes(contents), strict=True):
        passed = ours(content)
        tally.passed += passed
        if passed != theirs:
            _explain(tally, content, peer.name)
    return tally


def verified(way: str, contents: Sequence[bytes], peer: Verifier) -> Tally:
    """Our verdicts on what a peer signed: all should pass."""
    tally = Tally(way, len(contents))
    for content in contents:
        passed = ours(content)
        tally.passed += passed
        if not passed and not peer.passes([content])[0]:
            tally.explained["its own signature does not hold with the peer either"] += 1
        elif not passed:
            _explain(tally, content, peer.name)
    return tally


def _explain(tally: Tally, content: bytes, peer_name: str) -> None:
    why = next((text for peer, text, holds in EXPLANATIONS if peer == peer_name and holds(content)), None)
    if why:
        tally.explained[why] += 1
    else:
        tally.unexplained.append(content)


def _header(content: bytes) -> bytes:
    return content.partition(b"\r\n\r\n")[0]


def _blank_before_colon(content: bytes) -> bool:
    return re.search(rb"^[!-9;-~]+[ \t]+:", _header(content), re.MULTILINE) is not None


def _blanks_at_the_very_end(content: bytes) -> bool:
    return re.search(rb"[ \t]\Z", content) is not None


def _no_final_line_end(content: bytes) -> bool:
    return not content.endswith(b"\r\n")


def _empty_name(content: bytes) -> bool:
    return re.search(rb"^[ \t]*:", _header(content), re.MULTILINE) is not None


def _semicolon_in_name(content: bytes) -> bool:
    return re.search(rb"^[!-9;-~]*;[!-9;-~]*:", _header(content), re.MULTILINE) is not None


def _repeated_name(content: bytes) -> bool:
    names = [name.lower() for name in re.findall(rb"^([!-9;-~]+)[ \t]*:", _header(content), re.MULTILINE)]
    return len(set(names) - _MAY_REPEAT) < len([name for name in names if name not in _MAY_REPEAT])


def _blank_value(content: bytes) -> bool:
    return re.search(rb"^[!-9;-~]+:[ \t]+\r$", _header(content), re.MULTILINE) is not None


def _other_blanks(content: bytes) -> bool:
    return b"\x0b" in content or b"\x0c" in content


def _line_without_field(content: bytes) -> bool:
    return bool(split(content).named(b""))


def _not_base64(content: bytes) -> bool:
    findings = examine(split(content)).findings
    return any(isinstance(each, DkimVerdict) and each.found.endswith("is no base64") for each in findings)


def _empty_body(content: bytes) -> bool:
    return not content.partition(b"\r\n\r\n")[2].strip(b" \t\r\n")


_MAY_REPEAT = {b"dkim-signature", b"received", b"x-test", b"list-id"}


EXPLANATIONS: list[tuple[str, str, Callable[[bytes], bool]]] = [
    ("dkimpy", "white space before a colon, obsolete syntax, refused (RFC 5322 section 4.5)", _blank_before_colon),
    ("dkimpy", "keeps blanks at the end of a last line without CRLF (RFC 6376 section 3.4.4)", _blanks_at_the_very_end),
    ("opendkim", "adds no CRLF to a relaxed body that lacks one (RFC 6376 section 3.4.4)", _no_final_line_end),
    ("dkimpy", "takes a line without a name for a field (RFC 5322 section 2.2)", _empty_name),
    ("opendkim", "takes a line without a name for a field (RFC 5322 section 2.2)", _empty_name),
    ("rspamd", "refuses fields that should be there once only (RFC 5322 section 3.6)", _repeated_name),
    ("rspamd", "refuses white space before a colon (RFC 6376 section 3.4.2 deletes it)", _blank_before_colon),
    ("rspamd", "adds no CRLF to a body that lacks one (RFC 6376 section 3.4.4)", _no_final_line_end),
    ("rspamd", "hashes blanks of a field without a value (RFC 6376 section 3.4.2)", _blank_value),
    ("rspamd", "takes VT and FF for white space (RFC 6376 section 2.8: only SP and TAB are)", _other_blanks),
    ("rspamd", "hashes a CRLF for a relaxed body that is empty (RFC 6376 section 3.4.4)", _empty_body),
    ("rspamd", "passes what has a line in its header that is no field (RFC 6376 section 3.8)", _line_without_field),
    ("rspamd", "keeps blanks at the end of a last line without CRLF (RFC 6376 section 3.4.4)", _blanks_at_the_very_end),
    ("opendkim", "leaves out what is no base64 in a signature (RFC 6376 section 2.10)", _not_base64),
    ("opendkim", "refuses a semicolon in a name, which is allowed (RFC 5322 section 3.6.8)", _semicolon_in_name),
]
