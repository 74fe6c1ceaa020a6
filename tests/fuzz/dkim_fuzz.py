"""Break signed and sealed messages and their keys: `python -m tests.fuzz.dkim_fuzz --cases N --seed S`.

Only documented outcomes: a verdict with a reason unless it passes, or OversizedHeader. What passes is what was signed,
by canonical forms that are written here a second time, from the standard's words. The CPU of each case is bounded.
"""

import argparse
import random
import re
import sys
import time
from collections import Counter

from letterlock import arc, dkim
from letterlock.resolver.answer import Answer, FailureKind, LookupFailure
from tests.mailauth.agreement.messages import message, on_the_way
from tests.mailauth.answers import failure, nxdomain, txt
from tests.mailauth.dkim.forging import NOW, ed25519_key, rsa_key
from tests.mailauth.dkim.test_canonical import by_the_words

KEYS = (ed25519_key(), dkim.SigningKey("example.org", "rsa", rsa_key()))
MAX_CASE_SECONDS = 0.5  # of CPU: a case takes a few milliseconds
PIECES = [
    b";",
    b"=",
    b":",
    b"\r\n",
    b"\r\n ",
    b"\x00",
    b"\xff",
    b"b=",
    b"; b=x",
    b"; l=5",
    b"; x=1",
    b"h=from",
    b"i=1;",
    b"i=51;",
    b"cv=pass",
    b"DKIM-Signature:",
    b"ARC-Seal:",
    b"From: x@example.org\r\n",
    b"A" * 3_000,
    b";x=y" * 70,
    b":from" * 300,
    b" " * 3_000,
    b"(" * 500,
]


class Undocumented(AssertionError):
    """An outcome that is not among the documented ones."""


def mutated(content: bytes, chance: random.Random) -> bytes:
    """The message after one to four changes: what may happen on the way, or what an attacker would try."""
    for _ in range(chance.randrange(1, 5)):
        kind = chance.randrange(5)
        at = chance.randrange(len(content) + 1)
        if kind == 0 and b"\r\n\r\n" in content[1:]:
            content = on_the_way(content, chance) if content.strip() else content
        elif kind == 1:
            content = content[:at] + chance.choice(PIECES) + content[at:]
        elif kind == 2:
            content = content[:at] + content[at + chance.randrange(40) :]
        elif kind == 3:
            other = chance.randrange(len(content) + 1)
            content = content[:at] + content[other : other + chance.randrange(200)] + content[at:]
        else:
            content = content[:at] + chance.randbytes(chance.randrange(4)) + content[at:]
    return content


def answer(name: str, chance: random.Random) -> Answer | LookupFailure:
    """The right key most of the time; else a broken record, none, or a failure."""
    record = next((key.record for key in KEYS if key.record_name == name), None)
    kind = chance.randrange(12)
    if record is None or kind == 0:
        return nxdomain(name)
    if kind == 1:
        return failure(name, chance.choice(list(FailureKind)))
    return txt(name, mutated(record.encode(), chance) if kind == 2 else record)


def run(cases: int, seed: int, first: int = 0) -> Counter[str]:
    """Fuzz, and count how signatures and chains ended. Raises Undocumented."""
    ended: Counter[str] = Counter()
    for number in range(first, first + cases):
        chance = random.Random(f"{seed}:{number}")
        plain = message(chance)
        signed = dkim.sign_with(KEYS, dkim.split(plain), NOW) + plain
        sealed = signed
        for key in KEYS[: chance.randrange(3)]:
            verdict = _chain(sealed, random.Random(0), honest=True)
            sealed = arc.seal(arc.split(sealed), verdict, b"mx.test; none", key, NOW) + sealed
        content = mutated(sealed, chance)
        begun = time.process_time()
        try:
            ended.update(_verdicts(plain, content, chance))
            ended[f"arc {_chain(content, chance).status}"] += 1
        except dkim.OversizedHeader:
            ended["oversized"] += 1
        except Exception as error:
            raise Undocumented(f"case {number} of seed {seed}: {content!r}") from error
        if time.process_time() - begun > MAX_CASE_SECONDS:
            raise Undocumented(f"case {number} of seed {seed} takes too much CPU: {content!r}")
    return ended


def _verdicts(plain: bytes, content: bytes, chance: random.Random) -> list[str]:
    examination = dkim.examine(dkim.split(content))
    verdicts = examination.judge({name: answer(name, chance) for name in examination.key_names}, NOW)
    for verdict in verdicts:
        if verdict.passed and not _is_what_was_signed(plain, content):
            raise Undocumented(f"passes, though it is not what was signed: {content!r}")
        if verdict.passed != (verdict.reason is None) or not str(verdict):
            raise Undocumented(f"a verdict without a reason: {content!r}")
    return [f"dkim {verdict.reason or 'pass'}" for verdict in verdicts]


def _chain(content: bytes, chance: random.Random, *, honest: bool = False) -> arc.ChainVerdict:
    examination = arc.examine(arc.split(content))
    right = {key.record_name: txt(key.record_name, key.record) for key in KEYS}
    verdict = examination.judge(right if honest else {n: answer(n, chance) for n in examination.key_names}, NOW)
    if (verdict.reason is None) == (verdict.status is arc.Status.FAIL) or not str(verdict):
        raise Undocumented(f"a chain without a reason: {content!r}")
    return verdict


def _is_what_was_signed(plain: bytes, content: bytes) -> bool:
    return _covered(plain) == _covered(content)


GUARDED = (b"from", b"reply-to", b"subject", b"date", b"to", b"cc", b"message-id", b"mime-version", b"content-type")


def _covered(content: bytes) -> tuple[dict[bytes, list[bytes]], bytes]:
    """The guarded fields and the body in their relaxed forms, by the standard's words."""
    header, _, body = content.partition(b"\r\n\r\n")
    found: dict[bytes, list[bytes]] = {}
    for field in re.split(rb"\r\n(?![ \t])", header):
        name, _, value = field.partition(b":")
        name = name.strip(b" \t").lower()
        if name in GUARDED:
            found.setdefault(name, []).append(re.sub(rb"[ \t]+", b" ", value.replace(b"\r\n", b"")).strip(b" "))
    return found, by_the_words(body, dkim.Form.RELAXED)


def main() -> None:
    """Run and print how signatures ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    options = parser.parse_args()
    for outcome, count in run(options.cases, options.seed, options.first).most_common():
        sys.stdout.write(f"{count:8} {outcome}\n")


if __name__ == "__main__":
    main()
