"""Throw hostile TLS reports and datagrams at their readers: `python -m tests.fuzz.report_fuzz --cases N --seed S`.

Only documented outcomes: a report, a result, InvalidReport or InvalidDatagram; never more CPU than the bound, and never
a report that cannot be written, packed or summed up. Reports are changed member by member, damaged byte by byte, made
of pieces, packed as bombs and wrapped in mail.
"""

import argparse
import gzip
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from letterlock.mail.unpacking import InvalidReport
from letterlock.report.reported_problems import summarise
from letterlock.state.report_rows import packed_report, tls_report_of
from letterlock.tlsrpt.datagram import InvalidDatagram, compose_datagram, parse_datagram
from letterlock.tlsrpt.report import to_json
from letterlock.tlsrpt.tally import TlsTally
from letterlock.tlsrpt.tls_report_reader import MAX_COUNT, read_tls_report
from tests.fuzz.dmarc_fuzz import Unbounded, _damaged, _plain, _zipped
from tests.tlsrpt.reports import FAILURE, REPORT

MAX_CPU_SECONDS = 5.0  # the largest bomb that is read takes 0.5 s here; the bound is for slow and busy machines
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 7, 1e308, float("nan"), float("inf"), 2**64, "", "7", "x" * 5_000, "\ud800", "\x1b[2J", [], {},
    [[]], [None], {"policy-type": "sts"}, "version: STSv1\nmode: none", "2026-01-01", "0000-00-00T00:00:00Z",
    "9999-12-31T23:59:59+14:00", "sts", "tlsa", "certificate-expired", "*.example", "..", "a" * 300 + ".example",
)  # fmt: skip
PIECES = (
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b'"policies"',
    b'"policy"',
    b"null",
    b"1",
    b"1e999",
    b'"\\ud800"',
    b"\xff",
)


def report_case(chance: random.Random) -> str:
    """A report; what is read can be written, kept, and summed up."""
    text = chance.choice((_changed, _damaged_json, _pieces, _bomb))(chance)
    data = chance.choice((_plain, gzip.compress, _zipped, _mailed))(text)
    if chance.random() < 0.2 and data:
        data = _damaged(data, chance)
    try:
        report = read_tls_report(data, file_name=chance.choice(("", "a!b.example!1!2!x.json.gz", "!!!!")))
    except InvalidReport:
        return "invalid report"
    counts = [number for each in report.policies for number in (each.successful, each.failed)]
    counts += [failure.sessions for each in report.policies for failure in each.failures]
    if any(not 0 <= number <= MAX_COUNT for number in counts):
        raise Unbounded("a count out of range")
    if tls_report_of(packed_report(report)) != report:
        raise Unbounded("what was kept is not what was read")
    to_json(report)
    summarise([report])
    return "report"


def datagram_case(chance: random.Random) -> str:
    """A datagram; what is read can be counted and handed on."""
    document = json.loads(compose_datagram(FAILURE))
    _change(document, chance)
    data = json.dumps(document).encode("utf-8", "surrogatepass")
    if chance.random() < 0.4:
        data = chance.choice((_damaged(data, chance), b"".join(chance.choices(PIECES, k=chance.randrange(30)))))
    try:
        result = parse_datagram(data)
    except InvalidDatagram:
        return "invalid datagram"
    TlsTally().add(result, 1e9)
    if parse_datagram(compose_datagram(result)) != result:
        raise Unbounded("what was handed on is not what was read")
    return "datagram"


def _changed(chance: random.Random) -> bytes:
    document = json.loads(to_json(REPORT))
    for _ in range(chance.randrange(4)):
        _change(document, chance)
    return json.dumps(document).encode("utf-8", "surrogatepass")


def _change(value: Any, chance: random.Random) -> None:
    """Change one member somewhere."""
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key = chance.choice(keys)
        if isinstance(value[key], dict | list) and chance.random() < 0.7:
            value = value[key]
            continue
        value[key] = chance.choice(VALUES)
        return


def _damaged_json(chance: random.Random) -> bytes:
    return _damaged(to_json(REPORT), chance)


def _pieces(chance: random.Random) -> bytes:
    return b'{"policies":[' + b"".join(chance.choices(PIECES, k=chance.randrange(60))) + b"]}"


def _bomb(chance: random.Random) -> bytes:
    size = 1_000_000 if chance.random() < 0.03 else 5_000  # the large ones take their time
    return b'{"policies":[' + chance.choice((b"{},", b"[", b'{"a":', b" ", b"1,", b'"",')) * size + b"{}]}"


def _mailed(data: bytes) -> bytes:
    return b"Subject: Report Domain: a.example Submitter: b\r\nContent-Type: application/tlsrpt+gzip\r\n\r\n" + data


CASES: tuple[Callable[[random.Random], str], ...] = (report_case, datagram_case)


def run(cases: int, seed: int) -> Counter[str]:
    """Run the cases; how they ended. Raises Unbounded, or whatever the code lets out."""
    chance = random.Random(seed)
    ended: Counter[str] = Counter()
    for number in range(cases):
        began = time.process_time()
        ended[CASES[number % len(CASES)](chance)] += 1
        seconds = time.process_time() - began
        if seconds > MAX_CPU_SECONDS:
            raise Unbounded(f"case {number} took {seconds:.1f} s of CPU")
    return ended


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    ended = run(arguments.cases, arguments.seed)
    words = ", ".join(f"{count} {word}" for word, count in ended.most_common())
    print(f"{arguments.cases} cases, seed {arguments.seed}: {words}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
