"""A probe for people: what was said, the chain, the verdict and why; readable without colour."""

import datetime as dt
from collections.abc import Iterator, Sequence

from letterlock.cli.probe.presented_chain import ChainLink, Findings, records_in_sight
from letterlock.cli.style import Style
from letterlock.deliver.log import safe
from letterlock.deliver.session import NotCleared, Opened, Unreachable
from letterlock.identity.certificates import CertificateSummary
from letterlock.identity.handshake import Completed, HandshakeFailed
from letterlock.identity.pkix import PkixMatch
from letterlock.inspect.probe import ByHand, Demand, Mail, Probe, ProbeConclusion, ProbeSession, TranscriptLine
from letterlock.policy.decision import SkipHost
from letterlock.policy.evidence import Origin
from letterlock.policy.reasons import Reason, section, sentence
from letterlock.queue.tasks import OutcomeKind
from letterlock.resolver import Answer, LookupFailure

MAX_LINES_SHOWN = 40  # of one session
_DAY_SECONDS = 86400  # times are shown in days
_SOON_DAYS = 14  # chosen: two weeks are enough to renew a certificate by hand
_REQUIRED = {
    Demand.NONE: "nothing: TLS if it is offered, with any certificate",
    Demand.TLS: "TLS, with any certificate",
    Demand.VERIFY: "a certificate that an authority vouches for",
    Demand.DANE: "a certificate that a TLSA record names",
}
_HEADINGS = {
    ProbeConclusion.CLEARED: ("CLEARED", "good"),
    ProbeConclusion.NOT_CLEARED: ("NOT CLEARED", "bad"),
    ProbeConclusion.UNKNOWN: ("COULD NOT FIND OUT", "warn"),
}


def draw_probe(
    probed: Probe, by_hand: ByHand, findings: Findings, style: Style, *, now: float, mail: Mail | None
) -> Iterator[str]:
    """The lines for one probe."""
    name, port = probed.target.host.name, probed.target.port
    word, look = _HEADINGS[probed.conclusion]
    yield f"{style(f'{name}:{port}', 'bold')}   {style(word, look)}"
    yield f"  {safe(summary(probed))}"
    yield ""
    yield from _draw_target(probed, by_hand, style)
    for number, session in enumerate(probed.sessions, 1):
        yield ""
        yield from _draw_session(session, style, number if len(probed.sessions) > 1 else None)
    yield from _draw_chain(findings, style, now)
    yield from _draw_proofs(findings, probed, by_hand, style)
    yield ""
    yield f"  {style('Verdict', 'bold')}"
    if isinstance(probed.result, Unreachable):
        yield f"    - {safe(probed.result.text)}"
    yield from (f"    - {safe(sentence(each))}  {style(f'[{section(each)}]', 'dim')}" for each in reasons(probed))
    yield from _draw_sending(probed, mail, style)


def summary(probed: Probe) -> str:
    """The verdict in a sentence."""
    match probed.result:
        case Opened(cleared=cleared):
            by = f" by {cleared.achieved.by}" if cleared.achieved.by else ""
            return f"{cleared.achieved.level}{by}: what was required holds"
        case NotCleared(verdict=verdict):
            return sentence(verdict.reasons[0])
        case Unreachable(text=text):
            return text
    return f"{sentence(probed.required.reasons[0])}: the server was not spoken to"


def reasons(probed: Probe) -> tuple[Reason, ...]:
    """Why; without what the requirement says of itself, for it was given by hand."""
    match probed.result:
        case Opened(cleared=cleared):
            return cleared.reasons[len(cleared.requirement.reasons) :] or cleared.reasons
        case NotCleared(verdict=verdict):
            return verdict.reasons
        case Unreachable():
            return ()
    return probed.required.reasons if isinstance(probed.required, SkipHost) else ()


def _draw_target(probed: Probe, by_hand: ByHand, style: Style) -> Iterator[str]:
    target = probed.target
    required = _REQUIRED[by_hand.demand]
    how = ", in TLS from the first octet" if by_hand.implicit else ""
    yield f"  required    {required}{how}"
    if target.host.origin is not Origin.LITERAL:
        security = f", {style.state(target.address_security.value)}" if target.address_security else ""
        yield f"  addresses   {safe(', '.join(target.addresses)) or 'none'}{security}"
    if by_hand.records or (target.address_security and target.host.origin is not Origin.LITERAL):
        yield f"  TLSA        {_tlsa_words(probed, by_hand)}"
    for address, why in probed.unreached:
        yield f"  not reached {address}: {style(safe(why), 'warn')}"
    if probed.sessions:
        yield f"  spoke to    {probed.address}, port {target.port}"


def _tlsa_words(probed: Probe, by_hand: ByHand) -> str:
    target = probed.target
    if by_hand.records:
        return f"{_count(len(by_hand.records), 'record')}, by hand"
    at = f"_{target.port}._tcp.{target.tlsa_base}"
    match target.tlsa:
        case LookupFailure(kind=kind, detail=detail):
            return f"lookup at {at} failed ({kind}): {safe(detail)}"
        case Answer(absence=None, security=security):
            return f"{_count(len(records_in_sight(probed, by_hand)), 'record')} at {at}, {security}"
        case Answer(absence=absence, security=security):
            return f"none at {at} ({absence}, {security})"
    return "not asked for, because the addresses are not signed [RFC 7672 section 2.2.2]"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _draw_session(session: ProbeSession, style: Style, number: int | None) -> Iterator[str]:
    """What was said: our lines behind >, the server's behind <; the capabilities in one line."""
    small = ", once more with a small ClientHello" if session.compatible else ""
    yield f"  {style('Session' if number is None else f'Session {number}', 'bold')}{small}"
    clear = [each for each in session.said if not each.secure]
    secure = [each for each in session.said if each.secure]
    if clear:
        yield f"    {style('in cleartext', 'warn')}"
        yield from _draw_said(clear)
    match session.handshake:
        case Completed(version=version, cipher=cipher, group=group, sni=sni) as done:
            asked = f"SNI {sni}" if sni else "no SNI"
            yield f"    {style('TLS', 'good')} {version}, {cipher}, {group or 'no group'}, {asked}"
            yield from (f"      {style('weak', 'warn')}: {safe(words)}" for words in done.strength.sentences)
        case HandshakeFailed(detail=detail):
            yield f"    {style('TLS failed', 'bad')}: {safe(detail)}"
    yield from _draw_said(secure)
    if not session.said and session.handshake is None:
        yield "    nothing was said"
    if session.cut:
        yield "      … and more, which is not kept"


def _draw_said(said: Sequence[TranscriptLine]) -> Iterator[str]:
    lines = list(abbreviated(said))
    yield from (f"      {line}" for line in lines[:MAX_LINES_SHOWN])
    if len(lines) > MAX_LINES_SHOWN:
        yield f"      … and {_count(len(lines) - MAX_LINES_SHOWN, 'line')} more"


def abbreviated(said: Sequence[TranscriptLine]) -> Iterator[str]:
    """Each command and each reply in one line, safe for a terminal; the lines of a reply behind its first."""
    reply: list[str] = []
    for each in said:
        text = text_of(each)
        if each.ours:
            yield from _joined(reply)
            reply = []
            yield f"> {safe(text)}"
            continue
        more = reply and text[:3] == reply[0][:3] and reply[-1][3:4] == "-"
        if not more:
            yield from _joined(reply)
            reply = []
        reply.append(text)
    yield from _joined(reply)


def _joined(reply: Sequence[str]) -> Iterator[str]:
    if reply:
        first, *others = reply
        code, rest = first[:3], first[4:]
        shown = first if not others else f"{code} {rest}: {', '.join(line[4:] for line in others)}"
        yield f"< {safe(shown)}"


def text_of(said: TranscriptLine) -> str:
    """A line as text, whatever its octets are."""
    return said.octets.decode("utf-8", "replace")


def _draw_chain(findings: Findings, style: Style, now: float) -> Iterator[str]:
    if not findings.chain:
        return
    yield ""
    yield f"  {style('Certificates', 'bold')}"
    for number, shown in enumerate(findings.chain):
        yield from _draw_certificate(number, shown, style, now)
    if findings.left_out:
        yield f"    … and {findings.left_out} more, which are not looked at"


def _draw_certificate(number: int, shown: ChainLink, style: Style, now: float) -> Iterator[str]:
    if shown.summary is None:
        yield f"    {number}  {style('cannot be read', 'bad')}: {safe(shown.fault or '')}"
        return
    found = shown.summary
    yield f"    {number}  {style(safe(found.subject), 'bold')}"
    yield f"       issuer    {'itself' if found.self_issued else safe(found.issuer)}"
    if found.names or number == 0:
        yield f"       names     {safe(', '.join(found.names)) or 'none'}"
    yield f"       valid     {_validity(found, style, now)}"
    yield f"       key       {shown.key}"
    yield f"       SHA2-256  {found.sha256}"
    yield f"       as TLSA   {as_tlsa(number, found)}"


def as_tlsa(number: int, found: CertificateSummary) -> str:
    """The record that would name a certificate: `3 1 1` the server's own (RFC 7671 section 5.1), `2 0 1` others (5.2).

    Publish it only if you know the key to be yours: an attacker may have shown the one that was seen here.
    """
    return f"3 1 1 {found.spki_sha256}" if number == 0 else f"2 0 1 {found.sha256}"


def _validity(found: CertificateSummary, style: Style, now: float) -> str:
    dates = f"{_day(found.not_before)} to {_day(found.not_after)}"
    if now < found.not_before:
        return f"{dates}, {style('not yet', 'bad')}"
    days = int((found.not_after - now) // _DAY_SECONDS)
    if days < 0:
        return f"{dates}, {style('expired', 'bad')}"
    left = f"{_count(days, 'day')} left"
    return f"{dates}, {style(left, 'warn') if days < _SOON_DAYS else left}"


def _day(moment: float) -> str:
    return f"{dt.datetime.fromtimestamp(moment, dt.UTC):%Y-%m-%d}"


def _draw_proofs(findings: Findings, probed: Probe, by_hand: ByHand, style: Style) -> Iterator[str]:
    """What the chain proves by TLSA and by PKIX, also where that is not required."""
    if not findings.chain:
        return
    yield ""
    yield f"  {style('What they prove', 'bold')}"
    told = " ".join(sentence(each) for each in reasons(probed))
    for held in findings.held:
        word = style("matches", "good") if held.matches else style("does not match", "warn")
        why = "as the verdict says" if held.detail in told else safe(held.detail)
        yield f"    TLSA {held.record.short}   {word}: {why}"
    left_out = len(records_in_sight(probed, by_hand)) - len(findings.held)
    if left_out > 0:
        yield f"    … and {_count(left_out, 'record')} more"
    if not findings.held:
        yield "    TLSA   no record to hold them against"
    yield f"    PKIX   {_pkix_words(findings, style)}"


def _pkix_words(findings: Findings, style: Style) -> str:
    if findings.pkix is None:
        return "no name to verify: give --name"
    if isinstance(findings.pkix, PkixMatch):
        return f"{style('trusted', 'good')}: {safe(str(findings.pkix))}"
    return f"{style('not trusted', 'warn')}: {safe(findings.pkix.detail)}"


def _draw_sending(probed: Probe, mail: Mail | None, style: Style) -> Iterator[str]:
    """What happened to the message, or would happen to one."""
    for outcome in probed.outcomes:
        look = "good" if outcome.kind is OutcomeKind.DELIVERED else "bad"
        word = style(outcome.kind.value, look)
        yield f"    {safe(str(outcome.recipient))}   {word} ({safe(outcome.status)}): {safe(outcome.text)}"
    if probed.lost:
        yield f"    {style('the session was lost', 'bad')}: {safe(probed.lost)}"
    if not probed.outcomes and not probed.lost:
        yield f"    {would_be_sent(probed, mail)}"


def would_be_sent(probed: Probe, mail: Mail | None) -> str:
    """What delivery would do in such a session."""
    if isinstance(probed.result, Opened):
        tls = "inside TLS" if probed.result.handshake else "in cleartext"
        return f"a message would be sent here, {tls}"
    return "nothing was sent" if mail else "nothing would be sent: MAIL FROM never leaves"
