"""What DKIM costs: signing and verifying, beside dkimpy and OpenDKIM in the same run; bodies; memory.

`python -m bench.mailauth` prints medians of CPU time on one core. Verification has the keys parsed already, as a server
that sees the same domains all day. The goals: a message of 4 KB is verified in under 1 ms, and a body that is canonical
already costs little more than its hash.
"""

import argparse
import base64
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from tests.mailauth.agreement.peers import Dkimpy, OpenDkim
from tests.mailauth.answers import txt
from tests.mailauth.dkim.forging import ed25519_key, rsa_key

from letterlock.dkim import BodyHash, Form, Signer, SigningKey, examine, split
from letterlock.mailauth.dkim.canonical import body_digest
from letterlock.resolver.answer import Answer, LookupFailure

GOAL_VERIFY_MICROSECONDS = 1000.0
SIGNED_AT = 1_760_000_000.0
HEADER = (
    b"Received: from client.example.org (client.example.org [192.0.2.7])\r\n"
    b"\tby mx.example.org with ESMTPS id 4711;\r\n"
    b"\tThu, 26 Nov 2026 22:00:00 +0000\r\nFrom: Ann Example <ann@example.org>\r\nTo: Bob <bob@example.net>\r\n"
    b"Subject: The minutes of our meeting on Thursday\r\nDate: Thu, 26 Nov 2026 21:59:58 +0000\r\n"
    b"Message-ID: <20261126215958.4711@client.example.org>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
)
LINE = b"The quick brown fox jumps over the lazy dog, and again, and again, and again.\r\n"
MEGABYTE, LARGE = 1_000_000, 25_000_000


def microseconds(work: Callable[[], object], rounds: int, repeat: int) -> float:
    """CPU time of one round, the median of `repeat` measurements."""
    times = []
    for _ in range(repeat):
        begun = time.process_time()
        for _ in range(rounds):
            work()
        times.append((time.process_time() - begun) / rounds * 1e6)
    return statistics.median(times)


def main() -> None:
    """Measure, print, and end with 1 if verification misses its goal."""
    parser = argparse.ArgumentParser(prog="python -m bench.mailauth", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="messages in one measurement (default: 200)")
    parser.add_argument("--repeat", type=int, default=7, help="measurements, of which the median counts (default: 7)")
    options = parser.parse_args()
    content = HEADER + LINE * ((4096 - len(HEADER)) // len(LINE))
    slowest = messages(content, options.rounds, options.repeat)
    bodies(options.repeat)
    memory()
    sys.exit(slowest > GOAL_VERIFY_MICROSECONDS)


def messages(content: bytes, rounds: int, repeat: int) -> float:
    """Sign and verify a message of 4 KB with ours and others; returns our slowest verification."""
    keys = ed25519_key(), SigningKey("example.org", "rsa", rsa_key())
    print(f"a message of {len(content)} bytes, microseconds of CPU    sign   verify")
    slowest = 0.0
    for name, used in (("Ed25519", keys[:1]), ("RSA-2048", keys[1:]), ("both", keys)):
        signer = Signer(used)
        signed = signer.sign(split(content), SIGNED_AT) + content
        answers = {key.record_name: txt(key.record_name, key.record) for key in used}
        sign = microseconds(partial(_sign, signer, content), rounds, repeat)
        verify = microseconds(partial(_verify, signed, answers), rounds, repeat)
        slowest = max(slowest, verify)
        _row(f"letterlock, {name}", sign, verify)
    with tempfile.TemporaryDirectory() as folder:
        for peer in (Dkimpy(keys), OpenDkim(keys, Path(folder))):
            for key in keys:
                _peer(peer, key, content, max(rounds // 10, 3), repeat)
    return slowest


def _sign(signer: Signer, content: bytes) -> bytes:
    return signer.sign(split(content), SIGNED_AT)


def _verify(signed: bytes, answers: Mapping[str, Answer | LookupFailure]) -> None:
    assert all(verdict.passed for verdict in examine(split(signed)).judge(answers, SIGNED_AT))


def _peer(peer: Dkimpy | OpenDkim, key: SigningKey, content: bytes, rounds: int, repeat: int) -> None:
    signed = peer.sign(content, key, "relaxed/relaxed")
    assert signed is not None
    assert peer.passes([signed]) == [True]
    sign = microseconds(lambda: peer.sign(content, key, "relaxed/relaxed"), rounds, repeat)
    _row(f"{peer.name}, {key.algorithm.value}", sign, microseconds(lambda: peer.passes([signed]), rounds, repeat))


def _row(name: str, sign: float, verify: float) -> None:
    print(f"  {name:<44}{sign:>10.0f}{verify:>9.0f}")


def bodies(repeat: int) -> None:
    """The relaxed form and its hash, for bodies of 1 MB of several kinds."""
    noise = bytes(range(256)) * (MEGABYTE * 3 // 4 // 256)
    kinds = {
        "text, canonical already": LINE,
        "base64": base64.encodebytes(noise).replace(b"\n", b"\r\n"),
        "two blanks after each stop, blanks at line ends": LINE.replace(b", ", b",  ").replace(b"\r\n", b" \r\n"),
        "tabs": LINE.replace(b" ", b"\t"),
        "empty lines, then a word": b"\r\n",
        "blanks, then a word": b" ",
    }
    print("a body of 1 MB, relaxed form and SHA-256: milliseconds of CPU")
    for name, piece in kinds.items():
        body = memoryview((piece * (MEGABYTE // len(piece) + 1))[:MEGABYTE] + b"x")
        print(f"  {name:<50}{microseconds(partial(body_digest, [body], Form.RELAXED), 1, repeat) / 1e3:>8.2f}")


def memory() -> None:
    """What is allocated while a body of 25 MB is hashed."""
    body = memoryview(LINE * (LARGE // len(LINE)))
    tracemalloc.start()
    BodyHash(Form.RELAXED).update_view(body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    print(f"a body of 25 MB: at most {peak / 1024:.0f} KiB allocated while it is hashed")


if __name__ == "__main__":
    main()
