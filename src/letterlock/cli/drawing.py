"""An answer and its chain of trust, drawn zone by zone for people."""

from collections.abc import Iterator

import dns.rdatatype

from letterlock.cli.style import Style
from letterlock.resolver import Answer, FailureKind, LookupFailure, ProofStep

# Extended DNS errors, RFC 8914 section 4.
_EDE = {
    5: "DNSSEC indeterminate",
    6: "DNSSEC bogus",
    7: "signature expired",
    8: "signature not yet valid",
    9: "DNSKEY missing",
    10: "RRSIGs missing",
    12: "NSEC missing",
    22: "no reachable authority",
    23: "network error",
    27: "unsupported NSEC3 iterations value",
}


def draw_answer(answer: Answer, style: Style) -> list[str]:
    """The records or their absence, the state, and the chain."""
    question = answer.question
    kind = dns.rdatatype.to_text(question.rdtype)
    lines = [f"{style(f'{question.name} {kind}', 'bold')}   {style.state(answer.security.value)}", ""]
    lines += [
        f"  {link.owner} {dns.rdatatype.to_text(link.rdtype)} {link.target}   {link.security}"
        for link in answer.aliases
    ]
    if answer.absence:
        words = "does not exist (NXDOMAIN)" if answer.absence == "nxdomain" else f"exists, but has no {kind} (NODATA)"
        lines.append(f"  {answer.canonical_name} {words}")
    lines += [f"  {answer.canonical_name} {kind} {record.to_text()}" for record in answer.records]
    if answer.wildcard:
        lines.append(f"  made from {answer.wildcard}")
    return [*lines, "", *_draw_chain(answer.proof, style), "", f"  valid for {answer.ttl} s"]


def draw_failure(failure: LookupFailure, style: Style) -> list[str]:
    """What broke, and the chain up to there."""
    word = "bogus" if failure.kind is FailureKind.BOGUS else f"could not find out ({failure.kind})"
    chain = list(_draw_chain(failure.proof, style))
    broken = f"  {style('X', 'bad')} {failure.detail}"
    lines = [f"{style(str(failure.question), 'bold')}   {style(word, 'bad')}", "", *chain, broken]
    if failure.ede is not None:
        lines.append(f"    extended DNS error {failure.ede} ({_EDE.get(failure.ede, 'see RFC 8914')})")
    return lines


def _draw_chain(proof: tuple[ProofStep, ...], style: Style) -> Iterator[str]:
    """One block a zone, in the order of the way down; a zone's name stands once."""
    zones = list(dict.fromkeys(step.zone for step in proof))
    width = max((len(zone) for zone in zones), default=0)
    for zone in zones:
        shown = zone
        for step in proof:
            if step.zone != zone:
                continue
            yield f"  {style(f'{shown:<{width}}', 'bold')}  {step.detail}  {style(f'[{step.section}]', 'dim')}"
            shown = ""
