"""Odd but possible messages, and what may happen to them on the way. All from a seed."""

import random

NAMES = ["To", "Cc", "subject", "Date", "Message-ID", "MIME-Version", "Content-Type", "List-Id", "X-Test", "REPLY-TO"]
WORDS = [
    "Hello",
    "a  b",
    "=?utf-8?q?x?=",
    "\t",
    "grüß",
    "日本",
    '"q; d"',
    "(c)",
    "<x@y.test>",
    ":",
    ";",
    "  ",
    "é " * 9,
]
FOLDS = ["\r\n ", "\r\n\t", " \r\n ", "\t\r\n \t "]
LINES = [
    "",
    " ",
    "\t \t",
    "Hello there",
    "Hello  there \t",
    " leading",
    ".",
    "..dots",
    "From here",
    "grüße",
    "日本語 \t x",
    "-" * 76,
    "A" * 900,
    "soft=20break=",
    "a\tb\t c   d",
    "\x0b\x0c",
]


def message(chance: random.Random, *, repeated: bool = True) -> bytes:
    """A message with one From, CRLF line ends, and without bare CR or LF, which never travel.

    Without `repeated`, each name occurs once only.
    """
    fields = ["From: " + chance.choice(["a@example.org", "Ann <a@example.org>", "grüß <a@example.org>"])]
    fields += [chance.choice(NAMES) + ":" + _value(chance) for _ in range(chance.randrange(9))]
    if chance.random() < 0.1:
        fields.append("Subject : " + _value(chance).strip())
    chance.shuffle(fields)
    if not repeated:
        fields = list({field.partition(":")[0].strip().lower(): field for field in fields}.values())
    return ("\r\n".join(fields) + "\r\n\r\n" + _body(chance)).encode()


def _value(chance: random.Random) -> str:
    parts = [chance.choice(["", " ", "  ", "\t"])]
    for _ in range(chance.randrange(6)):
        parts += [chance.choice(WORDS), chance.choice([" ", " ", "  ", chance.choice(FOLDS)])]
        if chance.random() < 0.2:
            parts.append("x" * chance.randrange(60))
    text = "".join(parts)
    return text if text.rpartition("\r\n")[2].strip(" \t") or "\r\n" not in text else text + "end"


def _body(chance: random.Random) -> str:
    lines = [chance.choice(LINES) for _ in range(chance.randrange(12))]
    text = "".join(line + "\r\n" for line in lines)
    ends = ["", "", "", "\r\n", "\r\n\r\n", " \r\n", "no end", "blank \t", "\r\n \r\n"]
    return text + chance.choice(ends)


def on_the_way(content: bytes, chance: random.Random) -> bytes:
    """The message after one change, which may matter or not."""
    return chance.choice(CHANGES)(content, chance)


def _parts(content: bytes) -> tuple[list[bytes], bytes]:
    header, _, body = content.partition(b"\r\n\r\n")
    fields: list[bytes] = []
    for line in header.split(b"\r\n"):
        if line[:1] in (b" ", b"\t") and fields:
            fields[-1] += b"\r\n" + line
        else:
            fields.append(line)
    return fields, body


def _whole(fields: list[bytes], body: bytes) -> bytes:
    return b"\r\n".join(fields) + b"\r\n\r\n" + body


def _nothing(content: bytes, _: random.Random) -> bytes:
    return content


def _body_byte(content: bytes, chance: random.Random) -> bytes:
    fields, body = _parts(content)
    places = [at for at, octet in enumerate(body) if 33 <= octet < 127]
    if not places:
        return content
    at = chance.choice(places)
    return _whole(fields, body[:at] + b"#" + body[at + 1 :])


def _body_end(content: bytes, chance: random.Random) -> bytes:
    return content + chance.choice([b"\r\n", b"\r\n\r\n", b"footer\r\n", b" \r\n", b"\t"])


def _body_space(content: bytes, chance: random.Random) -> bytes:
    fields, body = _parts(content)
    old, new = chance.choice([(b" ", b"  "), (b"\r\n", b" \r\n"), (b" ", b"\t"), (b"  ", b" "), (b"\t", b"")])
    return _whole(fields, body.replace(old, new, 1))


def _field_top(content: bytes, chance: random.Random) -> bytes:
    name = chance.choice([*NAMES, "From", "Received", "Sender"])
    return f"{name}: added\r\n".encode() + content


def _field_bottom(content: bytes, chance: random.Random) -> bytes:
    fields, body = _parts(content)
    return _whole([*fields, chance.choice([*NAMES, "Received"]).encode() + b": added"], body)


def _field_gone(content: bytes, chance: random.Random) -> bytes:
    fields, body = _parts(content)
    del fields[chance.randrange(len(fields))]
    return _whole(fields, body) if fields else content


def _fields_swapped(content: bytes, chance: random.Random) -> bytes:
    fields, body = _parts(content)
    one, other = chance.randrange(len(fields)), chance.randrange(len(fields))
    fields[one], fields[other] = fields[other], fields[one]
    return _whole(fields, body)


def _field_space(content: bytes, chance: random.Random) -> bytes:
    fields, body = _parts(content)
    at = chance.randrange(len(fields))
    old, new = chance.choice([(b" ", b"  "), (b" ", b"\r\n "), (b"\r\n ", b" "), (b":", b": "), (b" ", b"")])
    fields[at] = fields[at].replace(old, new, 1)
    return _whole(fields, body)


def _field_case(content: bytes, chance: random.Random) -> bytes:
    fields, body = _parts(content)
    at = chance.randrange(len(fields))
    name, colon, value = fields[at].partition(b":")
    fields[at] = name.swapcase() + colon + value
    return _whole(fields, body)


def _signature_byte(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(16, max(17, min(len(content), 500)))
    replacement = chance.choice(b"Ax=;: 1")
    return content[:at] + bytes([replacement]) + content[at + 1 :] if content[at] not in b"\r\n" else content


CHANGES = [
    _nothing,
    _body_byte,
    _body_end,
    _body_space,
    _field_top,
    _field_bottom,
    _field_gone,
    _fields_swapped,
    _field_space,
    _field_case,
    _signature_byte,
]
