"""The page and the picture of what the lab's attacks do to several mail servers, made from what was measured."""

import datetime as dt
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from xml.sax.saxutils import escape

from letterlock.lab.scenarios import Attack, SiteProtection, TrialOutcome
from letterlock.lab.theory import expected, story, theory, title
from tests.interop.companion_box import Fate

_CONCEPTS = Path(__file__).parents[2] / "docs" / "concepts"
PAGE = _CONCEPTS / "attack-matrix.md"
PICTURE = _CONCEPTS / "attack-matrix.svg"


class Server(StrEnum):
    """Who sends, and how it is set up."""

    LETTERLOCK = "Letterlock"
    POSTFIX = "Postfix"
    EXIM = "Exim"
    OPENSMTPD = "OpenSMTPD"
    STAND_IN = "Postfix + policy server (stand-in)"
    RESOLVER_DOOR = "Postfix + resolver door"
    POLICY_DOOR = "Postfix + policy door"
    RELAY_DOOR = "Postfix + relay door"
    ALL_DOORS = "Postfix + all three doors"


Found = dict[tuple[Server, SiteProtection], Fate]
Measured = dict[Attack, Found]


class Judged(StrEnum):
    """A cell, compared with the best that theory allows."""

    AS_GOOD = "as good as theory allows"
    LOST = "read, and theory allows better"
    UNAVOIDABLE = "read, and nobody can prevent it"
    KEPT_BACK = "not delivered, although it could have been"
    UNDECIDED = "undecided"


def judged(attack: Attack, protection: SiteProtection, fate: Fate) -> Judged:
    """What a fate is worth."""
    best = expected(attack, protection)
    if fate is Fate.UNDECIDED:
        return Judged.UNDECIDED
    if fate is Fate.READ:
        return Judged.UNAVOIDABLE if best.readable else Judged.LOST
    delivered = fate in (Fate.DELIVERED, Fate.CLEAR)
    wanted = best.outcome is not TrialOutcome.HELD and not best.readable
    return Judged.KEPT_BACK if wanted and not delivered else Judged.AS_GOOD


_WORDS = {
    Fate.HELD: "held",
    Fate.READ: "read",
    Fate.DELIVERED: "ok",
    Fate.CLEAR: "clear",
    Fate.RETURNED: "returned",
    Fate.CRASHED: "crash",
    Fate.UNDECIDED: "?",
}


def page(measured: Measured, versions: Mapping[str, str], day: dt.date) -> str:
    """The page of all results."""
    servers = [server for server in Server if any(server is cell[0] for found in measured.values() for cell in found)]
    parts = [
        _INTRODUCTION.format(
            day=day,
            versions=", ".join(f"{name} {version}" for name, version in versions.items()),
            attacks=len([attack for attack in measured if attack is not Attack.NONE]),
            messages=sum(map(len, measured.values())),
        ),
        *_summary(measured, servers),
        _BETWEEN,
        *_by_protection(measured, servers),
        _SETUPS,
        *_worse(measured, servers),
    ]
    for server in servers:
        parts += _grid(measured, server)
    parts.append("## The attacks\n")
    parts += [f"- {title(attack)}: {story(attack)}." for attack in measured]
    return "\n".join([*parts, ""])


_INTRODUCTION = """\
<!-- Made by `make lab-peers` (tests/interop/peer_matrix.py); do not edit. -->
# Attacks on mail servers, side by side

`make lab-peers` runs the attacks of [the lab](../guides/lab.md) against Letterlock, against Debian's Postfix, Exim
and OpenSMTPD, and against Postfix behind Letterlock's doors. Measured on {day} in {attacks} attacks and one run in
peace, with {messages} messages, each with a secret of its own. A message is *read* if the attacker had the secret.

Versions: {versions}.

![Every attack against every protection, one panel for each server](attack-matrix.svg)

The best that theory allows is the same for every server: [its table](../guides/lab.md#what-theory-says). A server
*lost* a message if the attacker read it although a server could have prevented that. It *kept back* a message if it
did not deliver it although it could have, safely. Messages that nobody can protect count for neither.

## In short
"""
_BETWEEN = """
## How often each server was as good as theory allows

Per protection of the recipients' domain, out of all attacks and the run in peace; messages that nobody can protect
are left out. Bold: always.
"""
_SETUPS = """
## How they were set up

- **Letterlock** has the rules that the domains `require-tls`, `verify` and `own-ca` stand for, and nothing else. In
  the attacks on port 465 it has `[delivery] implicit_tls`, and a route to that port for `own-ca`.
- **Postfix**: `smtp_tls_security_level = dane` with Unbound, which validates, as its resolver, and a policy map for
  those domains: `encrypt`, `verify`, and `secure` with `tafile`. `smtp_tls_mandatory_protocols = >=TLSv1.2`: its
  default is TLS 1.0, and the policy and the relay door have to hold with that.
- **Exim**: `hosts_try_dane = *` and `dnssec_request_domains = *` with the same Unbound, and for those domains
  transports with `hosts_require_tls`, `tls_verify_hosts` and `tls_verify_certificates`, and with
  `tls_require_ciphers` that leaves TLS 1.0 and 1.1 out.
- **OpenSMTPD**: `relay tls no-verify` and `relay tls` for those domains. It has no DNSSEC, and one set of
  authorities for everything, which here is the lab's public one and the domain's own together.
- **Postfix + policy server (stand-in)**: after that policy map, a policy server that answers by the documented
  precedence of postfix-tlspol (DANE anywhere replaces MTA-STS) over Letterlock's lookups. postfix-tlspol was not run.
- **Postfix + doors**: [Letterlock next to Postfix](../guides/companion.md), each door alone, and all three.
  The policy door alone has a resolver that does not validate, and answers with fingerprints. The relay door alone
  sends everything through Letterlock. The resolver door alone has the policy map of Postfix.

None of the others looks for announced implicit TLS (Exim from 4.99 on does, by SRV records), and none was given a
route to port 465, although each can have one: so they *kept back* what only that port could still deliver.

Postfix, Exim and OpenSMTPD have no MTA-STS of their own. None of these versions has REQUIRETLS or a memory, so those
columns have messages of Letterlock only. A *returned* message went back to its sender at once: nobody else has it,
but a temporary fault became a permanent one. *Crashed*: the server itself ended, and was started again; the message
is in its queue.
"""


def _count(measured: Measured, server: Server, wanted: Judged, protection: SiteProtection | None = None) -> int:
    return sum(
        judged(attack, cell[1], fate) is wanted
        for attack, found in measured.items()
        for cell, fate in found.items()
        if cell[0] is server and protection in (None, cell[1])
    )


def _summary(measured: Measured, servers: Sequence[Server]) -> list[str]:
    rows = ["| server | messages | lost | kept back | returned | crashed | undecided |", f"| --- |{' --- |' * 6}"]
    for server in servers:
        fates = [fate for found in measured.values() for cell, fate in found.items() if cell[0] is server]
        lost, kept = (_count(measured, server, each) for each in (Judged.LOST, Judged.KEPT_BACK))
        others = [fates.count(each) for each in (Fate.RETURNED, Fate.CRASHED, Fate.UNDECIDED)]
        rows.append(f"| {server} | {' | '.join(map(str, [len(fates), lost, kept, *others]))} |")
    return rows


def _by_protection(measured: Measured, servers: Sequence[Server]) -> list[str]:
    rows = [f"| protection | {' | '.join(servers)} |", f"| --- |{' --- |' * len(servers)}"]
    for protection in SiteProtection:
        cells = []
        for server in servers:
            good = _count(measured, server, Judged.AS_GOOD, protection)
            bad = sum(
                _count(measured, server, each, protection) for each in (Judged.LOST, Judged.KEPT_BACK, Judged.UNDECIDED)
            )
            cells.append(
                "–" if good + bad == 0 else f"**{good}** of {good + bad}" if not bad else f"{good} of {good + bad}"
            )
        rows.append(f"| `{protection}` | {' | '.join(cells)} |")
    return [*rows, "", *(f"- `{each}`: {theory().protections[each]}" for each in SiteProtection)]


def _worse(measured: Measured, servers: Sequence[Server]) -> list[str]:
    """Where each of them falls short, protection by protection."""
    lines = ["## Where each falls short\n"]
    for server in servers:
        found: list[str] = []
        for protection in SiteProtection:
            lost = [a for a, cells in measured.items() if _is(cells, a, server, protection, Judged.LOST)]
            kept = [a for a, cells in measured.items() if _is(cells, a, server, protection, Judged.KEPT_BACK)]
            told = [f"lost {len(lost)} ({_named(lost)})"] if lost else []
            told += [f"kept back {len(kept)} ({_named(kept)})"] if kept else []
            if told:
                found.append(f"- `{protection}`: {'; '.join(told)}")
        lines += [f"**{server}**{': nowhere.' if not found else ''}\n", *found, ""]
    return lines


def _is(cells: Found, attack: Attack, server: Server, protection: SiteProtection, wanted: Judged) -> bool:
    fate = cells.get((server, protection))
    return fate is not None and judged(attack, protection, fate) is wanted


_MAX_NAMED = 6  # chosen: more are in the tables below


def _named(attacks: Sequence[Attack]) -> str:
    named = ", ".join(title(attack) for attack in attacks[:_MAX_NAMED])
    return f"{named}, ..." if len(attacks) > _MAX_NAMED else named


def _grid(measured: Measured, server: Server) -> list[str]:
    """One server's table; bold is what it lost."""
    columns = [each for each in SiteProtection if any((server, each) in found for found in measured.values())]
    rows = [f"## {server}\n", f"| attack | {' | '.join(columns)} |", f"| --- |{' --- |' * len(columns)}"]
    for attack, found in measured.items():
        cells = []
        for protection in columns:
            fate = found.get((server, protection))
            if fate is None:
                cells.append("")
                continue
            lost = judged(attack, protection, fate) is Judged.LOST
            cells.append(f"**{_WORDS[fate]}**" if lost else _WORDS[fate])
        rows.append(f"| {title(attack)} | {' | '.join(cells)} |")
    return [*rows, ""]


# --- the picture -----------------------------------------------------------------------------------------------------

# Told apart by people who see red and green alike, too: dark, light, hatched by a dot.
_COLOURS = {
    Judged.AS_GOOD: "#2e8b6f",
    Judged.LOST: "#c8322b",
    Judged.UNAVOIDABLE: "#c9ced6",
    Judged.KEPT_BACK: "#e3a008",
    Judged.UNDECIDED: "#000000",
}
_SIZE, _GAP, _STUB, _HEAD, _LEGEND, _PANEL_GAP = 9, 1, 150, 70, 24, 18  # pixels


def picture(measured: Measured) -> str:
    """All cells as squares: a row for each attack, a panel for each server, a column for each protection."""
    servers = [server for server in Server if any(server is cell[0] for found in measured.values() for cell in found)]
    step = _SIZE + _GAP
    panel = step * len(SiteProtection) + _PANEL_GAP
    width, height = _STUB + panel * len(servers) + 10, _LEGEND + _HEAD + step * len(measured) + 110
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="9">',
        "<title>Every attack against every protection, one panel for each server</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        *_legend(),
    ]
    top = _LEGEND + _HEAD
    for row, attack in enumerate(measured):
        y = top + row * step + _SIZE - 1
        parts.append(f'<text x="{_STUB - 6}" y="{y}" text-anchor="end">{escape(title(attack))}</text>')
    for number, server in enumerate(servers):
        parts += _panel(measured, server, _STUB + number * panel, top)
    return "\n".join([*parts, "</svg>", ""])


def _legend() -> list[str]:
    parts: list[str] = []
    x = _STUB
    for kind, colour in _COLOURS.items():
        if kind is Judged.UNDECIDED:
            continue
        parts.append(f'<rect x="{x}" y="8" width="{_SIZE}" height="{_SIZE}" fill="{colour}"/>')
        parts.append(f'<text x="{x + 14}" y="16" font-size="10">{escape(kind)}</text>')
        x += 40 + 6 * len(kind)
    return parts


def _panel(measured: Measured, server: Server, left: int, top: int) -> list[str]:
    step = _SIZE + _GAP
    first, _, second = server.partition(" + ")
    parts = [f'<text x="{left}" y="{top - 22}" font-weight="bold" font-size="11">{escape(first)}</text>']
    if second:
        parts.append(f'<text x="{left}" y="{top - 9}" font-size="10">+ {escape(second)}</text>')
    for column, protection in enumerate(SiteProtection):
        x = left + column * step
        bottom = top + step * len(measured) + 6
        parts.append(
            f'<text transform="translate({x + 1},{bottom}) rotate(90)" font-size="8">{escape(protection)}</text>'
        )
        for row, (attack, found) in enumerate(measured.items()):
            fate = found.get((server, protection))
            if fate is None:
                continue
            kind = judged(attack, protection, fate)
            parts.append(
                f'<rect x="{x}" y="{top + row * step}" width="{_SIZE}" height="{_SIZE}" fill="{_COLOURS[kind]}">'
                f"<title>{escape(f'{server}, {title(attack)}, {protection}: {fate}')}</title></rect>"
            )
    return parts
