"""Relays side by side: `python -m bench.relay [--part NAME] [--rounds N] [--write-doc]`.

`mixed` is real outgoing mail, to a thousand hosts far away; `clear`, `tls`, `latency` and `large` have one next hop;
`isolation` shows what slow, dead and tarpitting destinations do to the others, of Letterlock alone.

`--mail-authentication` compares Letterlock with itself instead: plain, signing with DKIM, and checking what comes.
`--counting` does too: without counters, with them (the default), and with the endpoint for Prometheus.
`--statistics` does too: without statistics, and with them (the default).

Postfix, OpenSMTPD and Letterlock, in turn, each alone on the machine while it is measured, in a room of name spaces
(relay_box) with the same source, sink, certificates, signed zones and disk. Needs root. The table goes to standard
output, progress to standard error; docs/reference/benchmarks-relay.md tells how to read it.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.mixed_report import CALM, GOAL, TROUBLED, MixedReport, crowded, growth, mixed_table
from bench.mixed_rounds import MixedBench, MixedPart
from bench.relay_box import INSIDE, CannotMeasure, furnish, run_inside
from bench.relay_doc import write_page
from bench.relay_names import make_names, start_unbound
from bench.relay_peers import (
    Letterlock,
    Peer,
    counting,
    end,
    fetch_opensmtpd,
    mail_authentication,
    mixed_peers,
    peers,
    statistics,
)
from bench.relay_report import Report, describe_machine, table
from bench.relay_rounds import Bench, Outcome, Part

ROOT = Path(__file__).resolve().parent.parent
OPENSMTPD = ROOT / ".make/unpacked/opensmtpd"
LATENCY_RATES = (50, 200)  # messages a second
LATENCY_SECONDS = 4
MEBIBYTE = 1 << 20
DOMAINS_EACH = 5
ISOLATION_RATE, ISOLATION_SECONDS = 100, 15  # messages a second, far below what is possible
PARTS = ("mixed", "clear", "tls", "latency", "large", "isolation", "all")
MIXED_TITLE = "1,300 domains, STARTTLS in and out, 40 ms per reply"


@dataclass(frozen=True, slots=True)
class Choice:
    """What was asked for."""

    part: str
    rounds: int
    messages: int
    mixed_messages: int
    json: Path | None
    write_doc: bool
    directory: Path
    mail_authentication: bool = False
    counting: bool = False
    statistics: bool = False

    @property
    def variants(self) -> list[Peer]:
        """Those of Letterlock that are compared; none: all peers are."""
        if self.counting:
            return counting()
        if self.statistics:
            return statistics()
        return mail_authentication() if self.mail_authentication else []


def parts(choice: Choice) -> list[Part]:
    """What to measure."""
    count = choice.messages
    found = [
        Part(name="clear", title="4 KB in cleartext", octets=4096, messages=count),
        Part(name="tls", title="4 KB, STARTTLS in, DANE out", octets=4096, messages=max(1, count // 2), tls=True),
        Part(name="large", title="1 MB in cleartext", octets=MEBIBYTE, messages=max(20, count // 40)),
    ]
    found += [
        Part(
            name=f"latency-{rate}",
            title=f"4 KB, {rate} per second",
            octets=4096,
            messages=rate * LATENCY_SECONDS,
            messages_per_second=rate,
        )
        for rate in LATENCY_RATES
    ]
    return [part for part in found if choice.part in ("all", part.name.partition("-")[0])]


def mixed_parts(choice: Choice) -> list[MixedPart]:
    """What to measure of mixed mail."""
    if choice.part == "isolation":
        messages, rate = ISOLATION_RATE * ISOLATION_SECONDS, ISOLATION_RATE
        title = f"{MIXED_TITLE}, {rate} per second"
        return [
            MixedPart(name=CALM, title=title, messages=messages, messages_per_second=rate, troubled=False),
            MixedPart(
                name=TROUBLED, title=f"{title}, trouble", messages=messages, messages_per_second=rate, tarpits=True
            ),
        ]
    if choice.part not in ("all", "mixed"):
        return []
    messages = choice.mixed_messages
    five, title = max(1, messages // DOMAINS_EACH), f"{MIXED_TITLE}, messages to {DOMAINS_EACH} domains"
    return [
        MixedPart(name="mixed", title=MIXED_TITLE, messages=messages),
        MixedPart(name="five", title=title, messages=five, domains_each=DOMAINS_EACH),
    ]


def measure_mixed(bench: MixedBench, found: Sequence[Peer], mixed: MixedReport, report: Report) -> None:
    """Mixed mail, with the peers in turn; failures are listed in the report."""
    for number in range(1, report.rounds + 1):
        for part in mixed.parts:
            for peer in found:
                try:
                    outcome = bench.relay(part, peer)
                except CannotMeasure as problem:
                    report.troubles.append(f"{peer.name}, {part.name}, round {number}: {problem}")
                    print(report.troubles[-1], file=sys.stderr)
                    continue
                mixed.outcomes.append(outcome)
                rates = f"{outcome.rate_to_90:5.0f}/s until 90 %, {outcome.rate_to_all:5.0f}/s until all"
                rest = (
                    f"{outcome.cpu_seconds:.1f} s of CPU, {outcome.delivered}/{outcome.wanted}, {outcome.seconds:.0f} s"
                )
                text = f"{part.name:10} {peer.name:13} {rates}, {rest}, round {number} of {report.rounds}"
                print(text, file=sys.stderr, flush=True)


def measure(bench: Bench, found: Sequence[Peer], report: Report) -> None:
    """What has one next hop, with the peers in turn."""
    rounds = report.rounds
    for part in report.parts:
        if not part.messages_per_second:
            report.direct.append(bench.direct(part))
            _progress(report.direct[-1], "nobody between")
        able = [peer for peer in found if peer.can_tls or not part.tls]
        for number in range(1, rounds + 1):
            for peer in able:
                try:
                    report.outcomes.append(bench.relay(part, peer))
                    _progress(report.outcomes[-1], f"round {number} of {rounds}")
                except CannotMeasure as problem:
                    report.troubles.append(f"{peer.name}, {part.name}, round {number}: {problem}")
                    print(report.troubles[-1], file=sys.stderr)


def _progress(outcome: Outcome, remark: str) -> None:
    missing = outcome.messages - outcome.delivered
    lost = f", {missing} NOT DELIVERED in time" if missing else ""
    text = f"{outcome.part:12} {outcome.peer or '-':11} {outcome.rate:7.0f} messages/s, {remark}{lost}"
    print(text, file=sys.stderr, flush=True)


@contextmanager
def furnished(
    directory: Path, own_variants: Sequence[Peer]
) -> Iterator[tuple[Bench, list[Peer], subprocess.Popen[bytes]]]:
    """The room with its names, who can run in it (these variants of our own, or all peers), and its resolver."""
    opensmtpd = OPENSMTPD if (OPENSMTPD / "usr/sbin/smtpd").exists() else None
    furnish(directory, opensmtpd)
    own = directory / "names"
    own.mkdir()
    names = make_names(own)
    unbound = start_unbound(own, names)
    try:
        yield Bench(directory, names), list(own_variants) or peers(opensmtpd), unbound
    finally:
        end(unbound)


def inside(choice: Choice, directory: Path) -> int:
    """Measure, and hand the results out; 1 when a round failed."""
    start = time.monotonic()
    machine = describe_machine(directory)
    with furnished(directory, choice.variants) as (bench, found, unbound):
        versions = {peer.name: peer.version() for peer in found}
        report = Report(parts=parts(choice), peers=versions, rounds=choice.rounds, machine=machine)
        measure(bench, found, report)
        mixed = MixedReport(mixed_parts(choice))
        if mixed.parts:
            end(unbound)
            relays = [Letterlock()] if choice.part == "isolation" else mixed_peers()
            measure_mixed(MixedBench(directory, bench.names), relays, mixed, report)
    print(mixed_table(mixed), table(report), sep="\n")
    print(f"{time.monotonic() - start:.0f} seconds in all", file=sys.stderr)
    if choice.json is not None:
        choice.json.write_text(json.dumps({**asdict(report), "mixed": asdict(mixed)}, indent=1) + "\n")
    if choice.write_doc:
        write_page(report, mixed, ROOT / "docs/reference")
    return int(bool(report.troubles or crowded(mixed)) or (growth(mixed) or 0) > GOAL)


def outside(choice: Choice, arguments: Sequence[str]) -> int:
    """Fetch what must be fetched, and start again in the room."""
    try:
        fetch_opensmtpd(OPENSMTPD)
    except CannotMeasure as missing:
        print(f"{missing}\nhint: going on without OpenSMTPD", file=sys.stderr)
    return run_inside(arguments, choice.directory)


def read_choice(arguments: Sequence[str]) -> Choice:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.relay", description=__doc__.partition("\n")[0])
    parser.add_argument("--part", choices=PARTS, default="all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--messages", type=int, default=16000, help="in cleartext; half with TLS, 1/40 of 1 MB")
    parser.add_argument("--mixed-messages", type=int, default=5000, help="of mixed mail; a fifth to five domains each")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round there")
    parser.add_argument("--write-doc", action="store_true", help="write docs/reference/benchmarks-relay.md; all parts")
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"), help="on the disk to measure")  # noqa: S108  # a real disk, unlike /tmp
    parser.add_argument(
        "--mail-authentication", action="store_true", help="Letterlock alone: what DKIM and checks cost"
    )
    parser.add_argument("--counting", action="store_true", help="Letterlock alone: what counters and metrics cost")
    parser.add_argument("--statistics", action="store_true", help="Letterlock alone: what statistics cost")
    given = parser.parse_args(arguments)
    alone = given.mail_authentication or given.counting or given.statistics
    if given.write_doc and (given.part != "all" or alone):
        parser.error("--write-doc needs all parts and all peers")
    if min(given.rounds, given.messages, given.mixed_messages) < 1:
        parser.error("at least one round and one message")
    return Choice(**vars(given))


def main(arguments: Sequence[str]) -> int:
    """The command."""
    choice = read_choice(arguments)
    try:
        if room := os.environ.get(INSIDE):
            return inside(choice, Path(room))
        return outside(choice, arguments)
    except CannotMeasure as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; everything that was started is ended", file=sys.stderr)
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
