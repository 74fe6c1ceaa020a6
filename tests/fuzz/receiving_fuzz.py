"""Hand hostile mail to the step that authenticates it: `python -m tests.fuzz.receiving_fuzz --cases N --seed S`.

Whatever comes, and whatever the DNS says: the message is accepted or refused with a documented reply; one field of ours
stands on top, which our own parser and line limits accept; no field that claims to be ours is left; the body is as it
came; and no message costs more CPU than the bound.
"""

import argparse
import asyncio
import random
import re
import sys
import time
from collections import Counter

from letterlock.discover.mail_authentication import MailJudge
from letterlock.dkim import SigningKey
from letterlock.mail.addresses import Mailbox
from letterlock.mail.checked_content import CheckedContent
from letterlock.mail.envelope import BodyType, TlsDemand
from letterlock.mail.wishes import NO_WISHES
from letterlock.mailauth.message import split
from letterlock.mailauth.results import parse
from letterlock.receive.authenticate_mail import AuthenticateMail, MailAuthenticationOptions
from letterlock.receive.pipeline import Draft, Facts
from letterlock.receive.seal_arc import SealArc
from letterlock.resolver.answer import FailureKind, Security
from tests.mailauth.dkim.forging import KEY_NAME, MESSAGE, NOW, RECORD, ed25519_key, forged
from tests.mailauth.dns_world import FakeResolver, World

MAX_CPU_SECONDS = 5.0  # the dearest message here takes 0.1 s; the bound is for slow and busy machines
MAX_LINE_OCTETS = 998  # RFC 5322 section 2.1.1
HOST = "mx.example.net"
SEAL_KEY = ed25519_key("example.net", "seal")
FROM = (
    b"From: ann@example.org",
    b"From: a@example.org, b@other.test",
    b"From: ann@good.test <ann@example.org>",
    b"From:",
    b"From: <@>",
    b"From: \xff\xfe@example.org",
    b"From: a@[192.0.2.1]",
    b"From: a@xn--a.test",
    b"fROM :\r\n ann@example.org (" + b"(" * 20,
)
RESULTS = (
    b"Authentication-Results: %s; dmarc=pass header.from=example.org",
    b'authentication-results : (x) "%s" 1; dkim=pass',
    b"Authentication-Results:\r\n\t%s;\r\n dkim=pass",
    b"AUTHENTICATION-RESULTS: (a (nested) one) %s (x); none",
    b"Authentication-Results: %s",
    b"Authentication-Results: %s.; spf=pass",
    b"Authentication-Results: ;%s; spf=pass",
    b"Authentication-Results: \\%s; spf=pass",
    b"Authentication-Results: (unclosed %s; spf=pass",
)
IDS = (b"mx.example.net", b"MX.EXAMPLE.NET", b"example.net", b"other.test", b"mx.example.net.evil.test", b"")
ARC = (
    b"ARC-Seal: i=1; a=rsa-sha256; cv=none; d=example.org; s=sel; b=AAAA",
    b"ARC-Message-Signature: i=1; a=ed25519-sha256; d=example.org; s=sel; h=from; bh=AAAA; b=AAAA",
    b"ARC-Authentication-Results: i=1; mx.example.net; dmarc=pass",
    b"ARC-Seal: i=51; cv=pass",
    b"ARC-Seal: i=0",
)
TAGS: tuple[dict[str, str | None], ...] = (
    {},
    {"s": "void"},
    {"d": "a" * 63 + ".test"},
    {"h": ":".join(["from", *["x"] * 1_000])},
    {"l": "3"},
    {"x": "1"},
    {"bh": "AAAA"},
    {"i": "\xff@example.org"},
    {f"x{number}": "1" for number in range(500)},
)
RECORDS = (
    "v=spf1 -all",
    "v=spf1 ip4:192.0.2.0/24 -all exp=why.example.org",
    "v=spf1 include:example.org -all",
    "v=spf1 exists:%{l1r-}.%{d} -all exp=why.example.org",
    "v=spf1 " + "a:%{d}.test " * 40,
    "v=spf1 redirect=%{o}",
    "\x00\xff",
)
POLICIES = ("v=DMARC1; p=reject", "v=DMARC1; p=quarantine", "v=DMARC1; p=none", "v=DMARC1; p=x; rua=mailto:a@b", "x")
SENDERS = ("ann@example.org", "a b@example.org", "ü@example.org", 'a"\\@other.test', "x" * 64 + "@example.org", "")
HELOS = ("out.example.org", "[192.0.2.7]", "unknown", "a..b", "x" * 255, "\x1b[2J", "ü.test")


def generated_world(chance: random.Random) -> World:
    """Records, some of them odd, and lookups that fail."""
    made = World(chance.choice((Security.SECURE, Security.INSECURE, Security.INDETERMINATE)))
    made.add(KEY_NAME, "TXT", chance.choice((RECORD, RECORD, "p=", "x", "v=DKIM1; p=" + "A" * 12_000)))
    made.add("example.org", "TXT", chance.choice(RECORDS)).add("why.example.org", "TXT", "%{s} %{h} \x07" * 20)
    made.add("_dmarc.example.org", "TXT", chance.choice(POLICIES)).add("out.example.org", "TXT", chance.choice(RECORDS))
    for name in chance.sample((KEY_NAME, "example.org", "_dmarc.example.org", "out.example.org"), chance.randrange(3)):
        made.records.pop(next(each for each in made.records if str(each) == f"{name}."), None)
        if chance.random() < 0.7:
            made.fail(name, chance.choice(list(FailureKind)))
    return made


def generated_message(chance: random.Random) -> bytes:
    """A message whose header is made of pieces; sometimes signed, and perhaps damaged afterwards."""
    fields = [chance.choice(RESULTS).replace(b"%s", chance.choice(IDS)) for _ in range(chance.randrange(4))]
    fields += chance.choices(ARC, k=chance.randrange(4))
    if chance.random() < 0.6:
        content = forged(chance.choice(TAGS))
    else:
        content = chance.choice(FROM) + b"\r\n" + MESSAGE.partition(b"\r\n")[2]
    for field in fields:
        content = field + b"\r\n" + content
    if chance.random() < 0.2:
        at = chance.randrange(len(content))
        content = content[:at] + chance.choice((b"\x00", b"\xff", b":", b"\r\n", b" ", b"")) + content[at + 1 :]
    return content if content.endswith(b"\r\n") else content + b"\r\n"


def generated_options(chance: random.Random) -> MailAuthenticationOptions:
    """Any choice that an operator can make."""
    return MailAuthenticationOptions(
        authserv_id=chance.choice((None, "example.net")),
        dmarc_reject=chance.choice(("accept", "quarantine", "reject")),
        dmarc_quarantine=chance.choice(("accept", "quarantine", "reject")),
        dmarc_temperror=chance.choice(("accept", "defer")),
        no_author=chance.choice(("accept", "quarantine", "reject")),
        spf_fail=chance.choice(("accept", "quarantine", "reject")),
        spf_temperror=chance.choice(("accept", "defer")),
    )


async def received(chance: random.Random, content: bytes, key: SigningKey) -> str:
    """Run the steps on one message; how it ended, in a word. Raises AssertionError for what must not be."""
    local_part, _, domain = chance.choice(SENDERS).rpartition("@")
    draft = Draft(
        id="ID1",
        received_at=NOW,
        reverse_path=Mailbox(local_part, domain) if domain else None,
        recipients=(Mailbox("bob", "example.net"),),
        body_type=BodyType.EIGHT_BIT_MIME,
        tls_demand=TlsDemand.NONE,
        wishes=NO_WISHES,
        smtputf8=True,
        content=CheckedContent(content),
    )
    facts = Facts(
        client=chance.choice(("192.0.2.7", "203.0.113.9", "2001:db8::1", "::ffff:192.0.2.7")),
        client_label="x",
        hello=chance.choice(HELOS),
    )
    options, judge = generated_options(chance), MailJudge(FakeResolver(generated_world(chance)))
    reply = await AuthenticateMail(judge, HOST, options).message(facts, draft)
    if reply is not None:
        assert reply.code in (550, 451, 552), reply
        assert all(" " <= each <= "~" for each in reply.text), reply
        assert len(str(reply)) <= 510, reply
        return str(reply.code)
    _require_sound_field(draft.fields, options.authserv_id or HOST)
    _require_nothing_forged(content, draft.content, {HOST, options.authserv_id or HOST})
    await SealArc([key], HOST).message(facts, draft)
    assert not split(draft.fields + b"\r\n").named(b""), draft.fields
    return "quarantined" if draft.quarantined else "accepted"


def _require_sound_field(fields: bytes, authserv_id: str) -> None:
    [field] = split(fields + b"\r\n").named(b"authentication-results")
    assert parse(field.value.decode("ascii")).authserv_id == authserv_id
    lines = fields.split(b"\r\n")
    assert all(len(line) <= MAX_LINE_OCTETS and b"\n" not in line and b"\r" not in line for line in lines), lines
    assert fields.isascii()


def _require_nothing_forged(before: bytes, after: bytes, own: set[str]) -> None:
    """By a second reading of the fields: without comments, quotes, blanks and case."""
    assert _body(after) == _body(before)
    for field in split(after).named(b"authentication-results"):
        plain = re.sub(rb"\([^()]*\)|[\s\"\\]", b"", field.value.lower())
        assert plain.partition(b";")[0].rstrip(b".1") not in [each.encode() for each in own], field.raw


def _body(content: bytes) -> bytes:
    """What follows the header section, which is empty when all of its fields were forged."""
    return content[2:] if content.startswith(b"\r\n") else content.partition(b"\r\n\r\n")[2]


def run(cases: int, seed: int, first: int = 0) -> Counter[str]:
    """The words in which so many messages ended. Raises AssertionError with the case."""
    ended: Counter[str] = Counter()

    async def every() -> None:
        for number in range(first, first + cases):
            chance = random.Random(f"{seed}:{number}")
            content, begun = generated_message(chance), time.process_time()
            try:
                ended[await received(chance, content, SEAL_KEY)] += 1
            except Exception as error:
                raise AssertionError(f"case {seed}:{number}: {error!r}: {content[:2000]!r}") from error
            assert time.process_time() - begun < MAX_CPU_SECONDS, f"case {seed}:{number} is too dear"

    asyncio.run(every())
    return ended


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    arguments = parser.parse_args()
    for word, count in run(arguments.cases, arguments.seed, arguments.first).most_common():
        print(f"{count:8}  {word}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
