"""The page of `bench.relay`: docs/reference/benchmarks-relay.md and its picture, made from a report.

What stands between the markers on the page was written by hand, and is kept.
"""

import re
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from bench.mixed_report import MixedReport, comparison, mixed_rows, mixed_shortfalls
from bench.relay_report import Report, Spread, rows, shortfalls, spread

PAGE, PICTURE = "benchmarks-relay.md", "benchmarks-relay.svg"
BEGIN, END = "<!-- written by hand: begin -->", "<!-- written by hand: end -->"
COLOURS = {"Postfix": "#8a8f98", "OpenSMTPD": "#c9a227", "Letterlock": "#1f6f5c"}
WIDTH, LEFT, RIGHT = 760, 120, 150
BAR, GAP, TITLE = 18, 6, 34

HEAD = """\
# Relays compared

<!-- Made by `python -m bench.relay --write-doc`, except the text between the markers. -->

Postfix, OpenSMTPD and Letterlock relay the same messages on the same machine in one run of `python -m bench.relay`
(as root, because it creates network namespaces). Each is measured alone, in {rounds} alternating rounds. The tables
show the median, with the minimum and maximum in brackets.

Outgoing mail goes to many hosts that are far away: that comes first. A single next hop without latency, as behind a
smarthost, comes after it, and shows what a message costs when nothing has to be looked up or set up.
"""

SINGLE = """\
## A single next hop

The figures below are of one destination on the same machine, with at most 20 connections and no latency.

![Messages per second of each relay]({picture})
"""

HOW_MIXED = """\
- **Real outgoing mail** (`--part mixed`, also alone): 4 KB messages to 1,300 domains, recipients drawn by Zipf's law
  from a fixed seed. 1,000 domains have an MX host of their own, 300 share three. A tenth of all zones is signed, and
  their hosts have TLSA records. Every reply, also within the TLS handshake, comes 40 ms late; of 100 hosts, 400 ms. 20
  hosts answer no SYN; what goes there is not counted. Sender and receivers all use STARTTLS. 20 connections send as
  fast as they may. Letterlock runs at its defaults with one worker per processor, and looks for MTA-STS policies,
  which the others do not. Postfix has its documented tuning (`bench/peers/postfix`), with 100 and with 1,000
  processes. Before each round 200 messages go to other domains, and the resolver starts with an empty cache. Rates
  are of deliveries (a message to a domain) from the first byte in. p50 to p99 are from `250` to delivery, at hosts
  that are not slow; the longest such time at the slow ones follows, then when the last message was accepted. A slow
  host takes 2.4 seconds for the first message of a session, so all cannot be done sooner than that after the last
  `250`. Costs are those of the relay, per 1,000 deliveries; Unbound and the receivers are listed apart.
"""

HOW = """\
## How it is measured

{mixed}
- **Throughput** with a single next hop is from the first byte in to the last message out: 20 connections send messages
  one after the other (`smtp-source -d -s 20`), and at most 20 receive them. In cleartext, the source is Postfix's
  `smtp-source` and the sink its `smtp-sink`. Those know no TLS, and take 5 ms of CPU for 1 MB; there, and for latency,
  source and sink are our own (`bench/relay_source.py`, `bench/relay_sink.py`), which speak as they do: a command, its
  reply, the next.
- **TLS**: STARTTLS with TLS 1.3 on both sides, P-256 certificates of one authority. The next hop is found by its MX
  in a signed zone, and authenticated by a `3 1 1` TLSA record. Postfix (`smtp_tls_security_level = dane`) asks a
  validating Unbound on loopback; Letterlock demands `dane-only`, asks the same Unbound, and validates by itself.
- **Latency** is from the `250` that the source received to the last octet of the message at the sink, both read
  from the same clock, while messages arrive at a fixed rate, regardless of the fate of earlier ones.
- **Costs**: CPU time of the server's whole process tree with children that have ended, and the peak of its
  proportional set size (samples every quarter second). Source, sink and Unbound are not in it. Disk flushes are all
  those that the disk completed in that time.
- **The sink is not the bottleneck**: "source and sink alone" is the rate with nobody between, and "sink busy" the
  largest share of its available CPUs that the sink used (one for `smtp-sink`, two for ours).
- The peers' configurations are in `bench/peers/`, tuned as their documentation says. Each server relays 500
  messages before it is measured, except OpenSMTPD, which is faster right after a start.
- The queues are on a real disk; the run refuses tmpfs and overlays. Loopback acknowledges TCP segments at once;
  otherwise a relay without TCP_NODELAY would wait 40 ms for each message.

OpenSMTPD 6.8 in Debian 12 has three peculiarities. It does not flush accepted messages to disk (traced; see its
flushes), so its figures are not for durable mail. Its relay sometimes waits up to 10 seconds, hard-coded, before it
makes new connections. It does not support DANE, and with OpenSSL 3 its STARTTLS fails as a server ([issue
1171](https://github.com/OpenSMTPD/OpenSMTPD/issues/1171)), hence no figures with TLS.
"""


def write_page(report: Report, mixed: MixedReport, directory: Path) -> None:
    """Write the page and its picture into a directory."""
    page = directory / PAGE
    text = page.read_text() if page.exists() else ""
    kept = re.search(f"{re.escape(BEGIN)}.*?{re.escape(END)}", text, re.DOTALL)
    parts = [HEAD.format(rounds=report.rounds), *_mixed_tables(mixed)]
    parts += [SINGLE.format(picture=PICTURE), *_tables(report)]
    parts += [f"- {shortfall}.\n" for shortfall in (*mixed_shortfalls(mixed), *shortfalls(report))]
    parts += [
        kept.group() + "\n" if kept else f"{BEGIN}\n{END}\n",
        _machine(report),
        HOW.format(mixed=HOW_MIXED.rstrip()),
    ]
    page.write_text("\n".join(parts))
    (directory / PICTURE).write_text(picture(report))


def _mixed_tables(report: MixedReport) -> Iterator[str]:
    for part in report.parts:
        heading, *cells = mixed_rows(report, part)
        lines = [f"## Real outgoing mail: {part.title}\n\n{part.messages:,} messages per round.\n"]
        lines += [_line(row) for row in (heading, ["---"] * len(heading), *cells)]
        yield "\n".join([*lines, "", *(f"{text}\n" for text in (comparison(report, part),) if text)])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _tables(report: Report) -> Iterator[str]:
    for part in report.parts:
        heading, cells = rows(report, part)
        direct = report.direct_of(part)
        alone = f" Source and sink alone: {direct.rate:,.0f} messages/s." if direct else ""
        lines = [f"### {part.title}\n\n{part.messages:,} messages per round.{alone}\n"]
        lines += [_line(row) for row in (heading, ["---"] * len(heading), *cells)]
        yield "\n".join([*lines, ""])


def _machine(report: Report) -> str:
    machine = report.machine
    if machine is None:
        return ""
    versions = ", ".join(f"{name} {version}" for name, version in report.peers.items())
    hardware = f"{machine.cpus} CPUs ({machine.cpu}), {machine.memory_gigabytes:.0f} GB, Linux {machine.kernel}"
    disk = f"{machine.disk} (4 KB with fsync: {machine.fsync_milliseconds:.2f} ms)"
    return f"## The machine\n\n{hardware}, {disk}. {versions}. {machine.date}.\n"


def picture(report: Report) -> str:
    """Bars of the rates, a group for each part with a scale of its own, with the spread as a line."""
    parts = [part for part in report.parts if not part.messages_per_second]
    body: list[str] = []
    y = 12
    for part in parts:
        rates = {
            peer: spread(outcomes, lambda outcome: outcome.rate)
            for peer in report.peers
            if (outcomes := report.rounds_of(part, peer))
        }
        body.append(f'<text x="16" y="{y + 16}" font-weight="600">{escape(part.title)}, messages per second</text>')
        y += TITLE
        scale = (WIDTH - LEFT - RIGHT) / max(rate.most for rate in rates.values())
        for peer, rate in rates.items():
            body += _bar(peer, rate, scale, y)
            y += BAR + GAP
        y += GAP
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 8}" width="{WIDTH}" height="{y + 8}" '
        'role="img" aria-label="Messages per second of each relay" font-family="system-ui, sans-serif" font-size="13">'
    )
    ground = f'<rect width="{WIDTH}" height="{y + 8}" rx="8" fill="#ffffff"/>'
    return "\n".join([opening, ground, '<g fill="#1c2024">', *body, "</g>", "</svg>", ""])


def _bar(peer: str, rate: Spread, scale: float, y: int) -> list[str]:
    width, least, most = (round(value * scale, 1) for value in (rate.median, rate.least, rate.most))
    middle = y + BAR // 2
    return [
        f'<text x="{LEFT - 8}" y="{y + 14}" text-anchor="end">{escape(peer)}</text>',
        f'<rect x="{LEFT}" y="{y}" width="{width}" height="{BAR}" rx="2" fill="{COLOURS[peer]}"/>',
        f'<path d="M{LEFT + least:.1f} {middle}H{LEFT + most:.1f}" stroke="#1c2024" stroke-width="1.5"/>',
        f'<text x="{LEFT + most + 8:.1f}" y="{y + 14}">{escape(rate.text(",.0f"))}</text>',
    ]
