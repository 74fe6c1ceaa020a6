"""Fuzz addresses and the commands that carry them. `python -m tests.fuzz.address_fuzz --cases N --seed S`.

A second reader of the grammar of RFC 5321, written without regular expressions, agrees with ours on what is an address;
what ours accepts beyond it (dots at odd places) it writes in a way that the second reader takes. An address never
carries a line end or a bracket out of its place. A command is understood, and means the same when it is written again;
or it is refused with a printable reply. A rewritten sender comes back as it was, and nobody else can make one.
"""

import functools
import random

from letterlock.mail.addresses import MAX_LOCAL_PART_OCTETS, MAX_PATH_OCTETS, InvalidAddress, Mailbox, parse_mailbox
from letterlock.mail.names import InvalidName, canonical
from letterlock.mail.replies import Reply
from letterlock.recipients.srs import DAY_SECONDS, VALID_DAYS, NotOurs, Srs
from letterlock.smtp.commands import BadCommand, parse_command, parse_hello, parse_mail, parse_rcpt
from tests.fuzz.kinds import Case, command, damaged, joined
from tests.fuzz.kinds import run as run_kinds

PIECES = [
    "a",
    "B9",
    ".",
    "..",
    "+",
    "=",
    "'",
    '"',
    "\\",
    '\\"',
    " ",
    "@",
    "\u00fc",
    "\U0001f600",
    "<",
    ">",
    "(",
    ",",
    "%",
    ":",
    "!",
    "\t",
]
ODD = ["\r\n", "\0", "\x7f", "\u2028", "\u0085", "\ud800", "x" * 62, "\u00e4" * 31, "SRS0=", "postmaster"]
DOMAINS = (
    *(
        "x.test",
        "X.Test.",
        "b\u00fccher.example",
        "xn--bcher-kva.example",
        "a" * 63 + ".test",
        "a" * 64 + ".test",
        "a_b.test",
    ),
    *(
        "[192.0.2.1]",
        "[192.0.2.256]",
        "[IPv6:2001:db8::1]",
        "[IPv6:::ffff:192.0.2.1]",
        "[IPv6:fe80::1%eth0]",
        "[x]",
        "[",
        "-.-",
    ),
    *(
        "",
        ".",
        "a..b",
        "\u3002",
        "fa\u00df.de",
        "x\u3002test",
        ".".join(["abcdefgh"] * 28),
        "1",
        "a b",
        "a\r\nb",
        "\u0130.test",
        "K.test",
    ),
)
ATEXT = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-/=?^_`{|}~")
SRS = Srs((b"a secret", b"an old secret"), "srs.test")
NOW = 1_800_000_000.0
WORDS = (
    *(
        "SIZE=1",
        "SIZE=99999999999999999999",
        "SIZE=",
        "SIZE=-1",
        "SIZE=\u0661",
        "BODY=8BITMIME",
        "BODY=BINARYMIME",
        "BODY=7bit",
    ),
    *("REQUIRETLS", "REQUIRETLS=1", "SMTPUTF8", "RET=HDRS", "RET=x", "ENVID=a+2Bb", "ENVID=a+2", "ENVID=" + "x" * 101),
    *(
        "AUTH=<>",
        "AUTH=ann",
        "NOTIFY=NEVER",
        "NOTIFY=SUCCESS,DELAY",
        "NOTIFY=NEVER,DELAY",
        "NOTIFY=",
        "ORCPT=rfc822;a+40b",
    ),
    *(
        "ORCPT=utf-8;\u00fc",
        "ORCPT=x",
        "ORCPT=rfc822;+00",
        "X=Y",
        "=",
        "a=b=c",
        "SIZE=1 SIZE=1",
        "\u00fc",
        "BY=1;R",
        "HOLDFOR=3",
    ),
)


# --- the second reader ---


def is_local_part(text: str) -> bool:
    """Dot-string or Quoted-string of RFC 5321 section 4.1.2, with UTF8-non-ascii of RFC 6531 section 3.3."""
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return _is_quoted(text[1:-1])
    atoms = text.split(".")
    return all(atom and all(letter in ATEXT or _beyond_ascii(letter) for letter in atom) for atom in atoms)


def _is_quoted(inner: str) -> bool:
    at = 0
    while at < len(inner):
        if inner[at] == "\\":
            at += 1
            if at == len(inner) or not " " <= inner[at] <= "~":
                return False
        elif inner[at] == '"' or not (" " <= inner[at] <= "~" or _beyond_ascii(inner[at])):
            return False
        at += 1
    return True


def _beyond_ascii(letter: str) -> bool:
    """What can be in UTF-8, but controls and line ends, which would break lines further on."""
    code = ord(letter)
    return code >= 0xA0 and not 0xD800 <= code <= 0xDFFF and code not in (0x2028, 0x2029, 0xFFFE, 0xFFFF)


def is_plain_domain(text: str) -> bool:
    """A domain in ASCII that any server takes: labels of letters, digits and hyphens within."""
    labels = text.split(".")
    fits = text.isascii() and 0 < len(text) <= 253 and all(0 < len(label) <= 63 for label in labels)
    return fits and all(
        (each.replace("-", "").isalnum() or set(each) == {"-"}) and each[0] != "-" != each[-1] for each in labels
    )


# --- the kinds ---


def _text(chance: random.Random) -> str:
    if chance.random() < 0.4:
        return f"{joined(PIECES[:7], chance, 4)}@{chance.choice(DOMAINS[:5])}"
    local = joined(PIECES if chance.random() < 0.7 else PIECES + ODD, chance, 6)
    if chance.random() < 0.3:
        local = f'"{local}"'
    route = "@a.test,@b.test:" if chance.random() < 0.05 else ""
    return f"{route}{local}@{chance.choice(DOMAINS)}"


def mailbox_case(chance: random.Random) -> str:
    """A text that may be an address: two readers."""
    text = _text(chance)
    local, _, domain = text.rpartition("@")
    try:
        found = parse_mailbox(text)
    except InvalidAddress:
        octets = len(local.encode("utf-8", "surrogatepass"))
        short = octets <= MAX_LOCAL_PART_OCTETS and octets + len(domain) < MAX_PATH_OCTETS
        assert not (is_local_part(local) and is_plain_domain(domain) and short), text
        return "refused"
    require_sound(found)
    if not text.startswith("@") and is_local_part(local):
        assert found.local_part == local
    assert parse_mailbox(str(found)) == found
    return "accepted"


def require_sound(found: Mailbox) -> None:
    """What an accepted address is, by the second reader."""
    assert is_local_part(found.local_part), found
    assert found.domain == canonical(found.domain)
    assert found.domain.isascii()
    assert len(str(found).encode()) <= MAX_PATH_OCTETS
    assert not set(str(found)) & set("\r\n\0\x7f\u2028\u2029\u0085")
    assert found.local_part.isascii() is not found.needs_smtputf8


def domain_case(chance: random.Random) -> str:
    """A domain: one spelling of each."""
    text = chance.choice(DOMAINS)
    if chance.random() < 0.6:
        text = damaged(text.encode("utf-8", "surrogatepass"), chance).decode("utf-8", "replace")
    try:
        found = canonical(text)
    except InvalidName:
        assert not is_plain_domain(text), text
        return "refused"
    assert canonical(found) == found
    assert found.isascii()
    name, percent, zone = found.partition("%")  # interfaces have capitals
    assert name == name.lower()
    assert zone.isascii() or not percent
    assert not set(found) & set(" \r\n\0<>@,;")
    if is_plain_domain(text):
        assert found == text.lower()
    return "accepted"


def command_case(chance: random.Random) -> str:
    """MAIL or RCPT, often damaged."""
    verb, path = chance.choice((b"MAIL FROM:", b"RCPT TO:")), _text(chance) if chance.random() < 0.8 else ""
    words = " ".join(chance.choices(WORDS, k=chance.choice((0, 0, 1, 2, 3))))
    line = verb + f"<{path}> {words}".encode("utf-8", "surrogatepass")
    line = damaged(line, chance) if chance.random() < 0.4 else line
    try:
        read = parse_command(line)
        if verb.startswith(b"MAIL"):
            return _mail(read.argument)
        return _rcpt(read.argument, smtputf8=chance.random() < 0.5)
    except BadCommand as bad:
        require_reply(bad.reply)
        return "refused"


def require_reply(reply: Reply) -> None:
    """A reply that refuses, which a client can get (RFC 5321 section 4.5.3.1.5: a line has 512 octets)."""
    assert 400 <= reply.code < 600
    assert reply.lines
    assert all(line.isascii() and line.isprintable() and len(line) <= 506 for line in reply.lines), reply


def _mail(argument: bytes) -> str:
    read = parse_mail(argument)
    path = "" if read.reverse_path is None else str(read.reverse_path)
    words = [f"BODY={read.body_type}", "SMTPUTF8" if read.smtputf8 else "", "REQUIRETLS" if read.requiretls else ""]
    words += [f"SIZE={read.size}" if read.size is not None else "", f"RET={read.ret}" if read.ret else ""]
    words += [f"ENVID={read.envid}" if read.envid else ""]
    again = parse_mail(f"FROM:<{path}> {' '.join(filter(None, words))}".rstrip().encode())
    assert again == read or (not read.envid and again.envid is None), (again, read)
    if read.reverse_path is not None:
        require_sound(read.reverse_path)
        assert read.smtputf8 or path.isascii()
    return "MAIL"


def _rcpt(argument: bytes, *, smtputf8: bool) -> str:
    read = parse_rcpt(argument, smtputf8=smtputf8)
    if read.recipient is None:
        return "postmaster"
    require_sound(read.recipient)
    assert smtputf8 or str(read.recipient).isascii()
    assert read.wishes.parameters.isascii()
    again = parse_rcpt(f"TO:<{read.recipient}>{read.wishes.parameters}".encode(), smtputf8=True)
    assert again == read, (again, read)
    return "RCPT"


def hello_case(chance: random.Random) -> str:
    """EHLO: a name for the log and the Received field, where it must not break out."""
    argument = chance.choice(DOMAINS).encode("utf-8", "surrogatepass")
    try:
        name = parse_hello(damaged(argument, chance))
    except BadCommand:
        return "refused"
    assert not set(name) & set(' \r\n\0()<>;"\\,')
    assert len(name) <= 255
    return "accepted"


def srs_case(chance: random.Random) -> str:
    """A sender is rewritten and comes back; what was changed on the way does not."""
    try:
        sender = parse_mailbox(_text(chance))
    except InvalidAddress:
        sender = Mailbox("ann", "example.org")
    forwarded = SRS.forward(sender, NOW)
    if forwarded is None:
        return "too long"
    require_sound(forwarded)
    assert SRS.is_ours(forwarded)
    days = chance.choice((0, 1, VALID_DAYS, VALID_DAYS + 1, 500))
    given = forwarded
    if chance.random() < 0.5:
        local = damaged(forwarded.local_part.encode(), chance).decode("utf-8", "replace")
        given = Mailbox(local, forwarded.domain)
    try:
        back = SRS.reverse(given, NOW + days * DAY_SECONDS)
    except NotOurs:
        assert given != forwarded or days > VALID_DAYS, forwarded
        return "refused"
    known = back.local_part.lower() == sender.local_part.lower() and back.domain == sender.domain
    assert known or forwarded.local_part.startswith("SRS1"), (sender, given, back)
    return "came back"


KINDS: dict[str, tuple[int, Case]] = {
    "mailbox": (6, mailbox_case),
    "domain": (2, domain_case),
    "command": (6, command_case),
    "hello": (1, hello_case),
    "srs": (2, srs_case),
}
run = functools.partial(run_kinds, KINDS)


if __name__ == "__main__":
    command(__doc__, KINDS)
