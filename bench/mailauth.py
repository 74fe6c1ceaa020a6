"""What mail authentication costs: DKIM with dkimpy, OpenDKIM and rspamd in the same run; SPF; DMARC; bodies; memory.

`python -m bench.mailauth [--peers | --large]` prints medians of CPU time on one core. Verification has the keys parsed
already, as a server that sees the same domains all day. Goals: a message of 4 KB is verified in under 1 ms, and a body
that is canonical already costs little more than its hash.
"""

import argparse
import asyncio
import base64
import os
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from tests.mailauth.agreement.peers import Dkimpy, OpenDkim
from tests.mailauth.agreement.rspamd import running_rspamd
from tests.mailauth.answers import txt
from tests.mailauth.dkim.forging import ed25519_key, rsa_key
from tests.mailauth.dns_world import FakeResolver, World
from tests.mailauth.spf_agreement import pyspf_asks, theirs

from bench.large_mail import large
from letterlock.discover.mail_authentication import authenticate
from letterlock.dkim import BodyHash, Form, Signer, SigningKey, examine, split
from letterlock.mailauth.dkim.canonical import body_digest
from letterlock.mailauth.dmarc.evaluate import AuthMechanism, Evidence, Identifier, MechanismOutcome
from letterlock.mailauth.dmarc.evaluate import evaluate as evaluate_dmarc
from letterlock.mailauth.dmarc.reasons import DmarcResult
from letterlock.mailauth.results import render
from letterlock.mailauth.spf.evaluate import evaluate as evaluate_spf
from letterlock.mailauth.spf.request import helo_request, mail_from_request
from letterlock.resolver.answer import Answer, LookupFailure, Security

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
RSPAMD_ROUNDS = 5  # for each of ours: its CPU time is only known in ticks of 10 ms
_PARENT, _USER_TICKS, _SYSTEM_TICKS = 1, 11, 12  # proc(5): in /proc/PID/stat, behind the name


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
    parser.add_argument("--peers", action="store_true", help="rspamd as well, which takes a while to start")
    parser.add_argument("--large", action="store_true", help="25 MB through all of receiving instead: memory and time")
    options = parser.parse_args()
    if options.large:
        large(LARGE)
        return
    content = HEADER + LINE * ((4096 - len(HEADER)) // len(LINE))
    slowest = messages(content, options.rounds, options.repeat)
    if options.peers:
        rspamd(content, options.rounds, options.repeat)
    checks(content, options.rounds, options.repeat)
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


def rspamd(content: bytes, rounds: int, repeat: int) -> None:
    """Verify the message with rspamd: CPU of its processes, asked over HTTP, with nothing on but its DKIM filter."""
    keys = ed25519_key(), SigningKey("example.org", "rsa", rsa_key())
    with tempfile.TemporaryDirectory() as folder, running_rspamd(keys, Path(folder)) as server:
        for key in keys:
            signed = Signer([key]).sign(split(content), SIGNED_AT) + content
            assert server.passes([signed]) == [True]
            times = []
            for _ in range(repeat):
                begun = _cpu_seconds(server.process_id)
                server.passes([signed] * rounds * RSPAMD_ROUNDS)
                times.append((_cpu_seconds(server.process_id) - begun) / rounds / RSPAMD_ROUNDS * 1e6)
            print(f"  {f'rspamd, {key.algorithm.value}':<44}{'-':>10}{statistics.median(times):>9.0f}")


def _cpu_seconds(root: int) -> float:
    """What a process and its children have used; ticks of 10 ms, so that many messages are needed."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # a process that has just ended
            values = path.read_text().rpartition(")")[2].split()
            if int(path.parent.name) == root or int(values[_PARENT]) == root:
                ticks += int(values[_USER_TICKS]) + int(values[_SYSTEM_TICKS])
    return ticks / os.sysconf("SC_CLK_TCK")


def checks(content: bytes, rounds: int, repeat: int) -> None:
    """SPF and DMARC of a message, and all checks of a listener together, with the DNS in memory."""
    key = SigningKey("example.org", "rsa", rsa_key())
    signed = split(Signer([key]).sign(split(content), SIGNED_AT) + content)
    world = World(Security.SECURE).add(key.record_name, "TXT", key.record)
    world.add("example.org", "TXT", "v=spf1 include:_spf.example.org -all")
    world.add("_spf.example.org", "TXT", "v=spf1 ip4:198.51.100.0/24 ip4:192.0.2.0/24 -all")
    world.add("_dmarc.example.org", "TXT", "v=DMARC1; p=reject").add("out.example.org", "TXT", "v=spf1 a -all")
    request = mail_from_request("192.0.2.7", "ann@example.org", "out.example.org")
    helo = helo_request("192.0.2.7", "out.example.org")
    evidence = Evidence(
        authors=("example.org",),
        identifiers=(Identifier(AuthMechanism.SPF, "example.org", MechanismOutcome.PASS),),
    )
    resolver = FakeResolver(world)

    async def all_checks() -> None:
        for _ in range(rounds):
            verdict = await authenticate(signed, (helo, request), resolver, SIGNED_AT)
            assert verdict.dmarc.result is DmarcResult.PASS
            render(verdict.results("mx.example.net"))
            world.asked.clear()

    print("checks of a message of 4 KB, microseconds of CPU, DNS in memory")
    print(f"  {'SPF, one include':<44}{microseconds(lambda: world.run(evaluate_spf(request)), rounds, repeat):>10.0f}")
    with pyspf_asks(world):
        pyspf_cost = microseconds(
            lambda: theirs(world, "192.0.2.7", "ann@example.org", "x"), max(rounds // 5, 3), repeat
        )
    print(f"  {'SPF, the same by pyspf':<44}{pyspf_cost:>10.0f}")
    print(f"  {'DMARC':<44}{microseconds(lambda: world.run(evaluate_dmarc(evidence)), rounds, repeat):>10.0f}")
    every = microseconds(lambda: asyncio.run(all_checks()), 1, repeat) / rounds
    print(f"  {'all: SPF twice, DKIM, DMARC, ARC, the field':<44}{every:>10.0f}")


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
