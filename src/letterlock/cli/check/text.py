"""A survey for people: one block a domain, readable without colour."""

import datetime as dt
from collections.abc import Iterator

from letterlock.cli.check.table import heading
from letterlock.cli.style import Style
from letterlock.deliver.log import safe
from letterlock.deliver.session import NotCleared, Unreachable
from letterlock.discover.announced import Announced
from letterlock.identity.certificates import InvalidCertificate, describe
from letterlock.identity.dane import usable_records
from letterlock.identity.handshake import Completed
from letterlock.inspect.outlook import Attacker, Reader
from letterlock.inspect.recommend import Advice
from letterlock.inspect.survey import Contact, HostSurvey, Met, Survey
from letterlock.memory.suggestion import day
from letterlock.memory.traces import holding
from letterlock.mtasts import Absent, Known, Mode
from letterlock.mtasts import PolicyUnavailable as StsUnreachable
from letterlock.policy.decision import Defer, Refuse, Requirement
from letterlock.policy.evidence import DestinationEvidence, MemoryUnreadable, Origin
from letterlock.policy.reasons import Finding, Reason, finding, section, sentence
from letterlock.policy.require import tlsa_records
from letterlock.resolver import Answer, LookupFailure
from letterlock.routing.destination_rule import MemoryMode
from letterlock.tlsrpt import InvalidTLSRPTRecord, ReportAddresses
from letterlock.tlsrpt import NoTLSRPTRecord as ReportsNotAsked

_MAX_TLSA_SHOWN = 6  # chosen: a current and a next key in three forms
_SOON_SECONDS = 14 * 86_400  # chosen: two weeks are enough to renew a certificate by hand
_ATTACKERS = {
    Attacker.REMOVES_STARTTLS: "on the path, removing STARTTLS",
    Attacker.OWN_CERTIFICATE: "on the path, own certificate",
    Attacker.FORGES_DNS: "forging DNS answers",
    Attacker.BOUGHT_CERTIFICATE: "with a bought certificate",
    Attacker.FIRST_CONTACT: "hiding MTA-STS at first contact",
}
_ORIGINS = {Origin.MX: "MX", Origin.IMPLICIT_MX: "no MX, host", Origin.STATIC: "relay host", Origin.LITERAL: "address"}
_AUDITS = (Finding.POLICY_WOULD_HOLD, Finding.AUDITED)


def draw_survey(survey: Survey, style: Style) -> list[str]:
    """The lines for one domain."""
    word, look = heading(survey)
    lines = [
        f"{style(survey.domain, 'bold')}   {style(word, look)}",
        f"  {safe(survey.summary.sentence)}",
    ]
    for host in survey.hosts:
        lines += ["", *_draw_host(host, survey, style)]
    lines += ["", *_draw_domain(survey, style)]
    if survey.hosts and not isinstance(survey.routed, Refuse):
        lines += ["", f"  {style('Who could read this mail?', 'bold')}", *_draw_attackers(survey, style)]
    if survey.advice:
        lines += ["", f"  {style('Worth doing next', 'bold')}"]
        for number, advice in enumerate(survey.advice, 1):
            lines += _draw_advice(number, advice, style)
    return lines


def _draw_domain(survey: Survey, style: Style) -> Iterator[str]:
    """What is known of the domain itself: how the MX came, the rule, MTA-STS, reports."""
    mx, rule = survey.evidence.mx, survey.evidence.rule
    if isinstance(mx, LookupFailure):
        yield f"  MX lookup     {style('failed', 'bad')}: {mx.kind}"
    elif isinstance(mx, Answer):
        zones = " > ".join(dict.fromkeys(step.zone for step in mx.proof))
        what = f"absent ({mx.absence})" if mx.absence else "found"
        until = f", valid until {_earliest(mx)}" if _earliest(mx) else ""
        yield f"  MX lookup     {what}, {style.state(mx.security.value)}: {zones or 'no trust anchor covers it'}{until}"
        if mx.proof and not mx.secure:
            yield f"                {safe(mx.proof[-1].detail)}  {style(f'[{mx.proof[-1].section}]', 'dim')}"
    if relay := survey.evidence.relay:
        yield f"  your route    {safe(str(survey.evidence.next_hop))}  {style(f'[rule-route, {relay.source}]', 'dim')}"
    if isinstance(survey.routed, Defer | Refuse):
        yield from (_reason(each, style) for each in survey.routed.reasons)
    if isinstance(survey.routed, Refuse):
        yield from (_announced(each, style) for each in survey.announced)
        return
    if sts := _sts_words(survey, style):
        yield f"  MTA-STS       {sts}"
    if reporting := _reporting_words(survey, style):
        yield f"  TLS reports   {reporting}"
    yield from (_announced(each, style) for each in survey.announced)
    if rule:
        yield f"  your rule     {rule.tls}  {style(f'[{rule.source}]', 'dim')}"
    if memory := memory_words(survey.evidence):
        yield f"  memory        {memory}"


def _earliest(answer: Answer) -> str:
    """When the first of the signatures ends that the answer rests on."""
    ends = [str(value) for step in answer.proof for name, value in step.facts if name == "expiration"]
    return min(ends, default="") if answer.secure else ""


def memory_words(evidence: DestinationEvidence) -> str:
    """What the server remembers of the domain, and what follows from it; nothing where it is not looked at."""
    memory, mode = evidence.memory, evidence.memory_mode
    if memory is None or mode is MemoryMode.OFF:
        return ""
    if isinstance(memory, MemoryUnreadable):
        return f"{mode}: could not find out: {safe(memory.detail)}"
    tls = holding(memory.tls, evidence.at)
    words = f"TLS on {tls.days} days since {day(tls.first)}" if tls is not None else "not established yet"
    gone = ", ".join(dict.fromkeys(each.what.value for each in memory.alarms(evidence.at)))
    return f"{mode}: {words}{f'; gone: {gone}' if gone else ''}"


def _sts_words(survey: Survey, style: Style) -> str:
    match survey.evidence.sts:
        case Known(policy=policy, id=found, trouble=trouble):
            look = {Mode.ENFORCE: "good", Mode.TESTING: "warn", Mode.NONE: "bad"}[policy.mode]
            until = dt.datetime.fromtimestamp(survey.evidence.sts.expires_at, dt.UTC)
            doubt = f"; {style(safe(trouble), 'bad')}" if trouble else ""
            odd = f"; {style('odd', 'warn')}: {safe('; '.join(policy.oddities))}" if policy.oddities else ""
            return f"{style(policy.mode.value, look)}, id {safe(found)}, holds until {until:%Y-%m-%d}{doubt}{odd}"
        case Absent(detail=None):
            return "none"
        case Absent(detail=detail):
            return f"{style('invalid', 'bad')}: {safe(detail or '')}"
        case StsUnreachable(detail=detail):
            return f"{style('could not find out', 'warn')}: {safe(detail)}"
    return ""


_STATES = {"absent": ("none", "warn"), "invalid": ("invalid", "bad"), "failed": ("could not find out", "warn")}


def _announced(found: Announced, style: Style) -> str:
    """SPF, DMARC or a DKIM key in a line."""
    word, look = _STATES.get(found.state, ("", ""))
    what = ": ".join(filter(None, (style(word, look) if word else "", safe(found.detail))))
    security = f"  {style(f'[{found.security}]', 'dim')}" if found.security else ""
    return f"  {safe(found.method):<13} {what}{security}"


def _reporting_words(survey: Survey, style: Style) -> str:
    match survey.reporting:
        case ReportAddresses(uris=uris):
            return f"to {safe(', '.join(uris))}"
        case InvalidTLSRPTRecord(detail=detail):
            return f"{style('invalid', 'bad')}: {safe(detail)}"
        case LookupFailure(detail=detail):
            return f"{style('could not find out', 'warn')}: {safe(detail)}"
        case ReportsNotAsked(nearly=near) if near is not None:
            return f"{style('invalid', 'bad')}: {safe(str(near))}"
    return "" if survey.reporting is None else "not asked for"


def _draw_advice(number: int, advice: Advice, style: Style) -> Iterator[str]:
    yield f"    {number}. {safe(advice.what)}"
    yield f"       {style(safe(advice.why), 'dim')}"
    yield from (f"         {safe(line)}" for line in advice.publish)


def _draw_host(host: HostSurvey, survey: Survey, style: Style) -> Iterator[str]:
    """One host: what is published, what is demanded and why, and each address."""
    target = host.target
    origin = _ORIGINS[target.host.origin]
    preference = f" {target.host.preference}" if target.host.origin is Origin.MX else ""
    summary = f"   {safe(host.summary.sentence)}" if len(survey.hosts) > 1 else ""
    yield f"  {origin}{preference}  {style(target.host.name, 'bold')}{summary}"
    if target.tlsa_base is not None:
        yield f"    TLSA _{target.port}._tcp.{target.tlsa_base}: {_tlsa_words(target.tlsa)}"
        yield from _draw_tlsa(target.tlsa)
    for reason in host.required.reasons:
        yield _reason(reason, style)
    for contact in host.contacts:
        yield from _draw_contact(contact, host, survey.at, style)


def _draw_tlsa(tlsa: Answer | LookupFailure | None) -> Iterator[str]:
    records = tlsa_records(tlsa) if isinstance(tlsa, Answer) else ()
    usable = usable_records(records)
    for record in records[:_MAX_TLSA_SHOWN]:
        yield f"      {record}" + ("" if record in usable else "   not usable for mail [RFC 7672 section 3.1]")
    if len(records) > _MAX_TLSA_SHOWN:
        yield f"      and {len(records) - _MAX_TLSA_SHOWN} more"


def _tlsa_words(tlsa: Answer | LookupFailure | None) -> str:
    if isinstance(tlsa, LookupFailure):
        return f"lookup failed ({tlsa.kind}): {safe(tlsa.detail)}"
    if tlsa is None:
        return "not asked"
    if tlsa.absence:
        return f"none ({tlsa.absence}, {tlsa.security})"
    return f"{len(tlsa.records)} record{'s' if len(tlsa.records) != 1 else ''}, {tlsa.security}"


def _reason(reason: Reason, style: Style) -> str:
    return f"    - {safe(sentence(reason))}  {style(f'[{section(reason)}]', 'dim')}"


def _draw_contact(contact: Contact, host: HostSurvey, now: float, style: Style) -> Iterator[str]:
    match contact.result:
        case Met(cleared=cleared, handshake=handshake):
            by = f" by {cleared.achieved.by}" if cleared.achieved.by else ""
            met = f" ({safe(cleared.achieved.match)})" if cleared.achieved.match else ""
            level = style.state(cleared.achieved.level.value)
            yield f"    {contact.address}   {level}{by}{met}   {_tls_words(handshake)}"
        case NotCleared(verdict=verdict, evidence=evidence):
            tls = evidence.handshake if isinstance(evidence.handshake, Completed) else None
            yield f"    {contact.address}   {style('held', 'warn')}   {_tls_words(tls)}"
            yield from (f"  {_reason(each, style)}" for each in verdict.reasons)
        case Unreachable(text=text):
            yield f"    {contact.address}   {style('not reached', 'warn')}: {safe(text)}"
    if contact.handshake is not None:
        yield f"      {_certificate_words(contact.handshake, now, style)}"
        yield from (f"      {style('weak', 'warn')}: {safe(words)}" for words in contact.handshake.strength.sentences)
    if isinstance(contact.result, Met) and isinstance(host.required, Requirement):
        told = [each for each in contact.reasons if finding(each) in _AUDITS]
        yield from (f"  {_reason(each, style)}" for each in told)


def _certificate_words(handshake: Completed, now: float, style: Style) -> str:
    """The server's own certificate in one line."""
    if not handshake.chain:
        return "no certificate"
    try:
        found = describe(handshake.chain[0])
    except InvalidCertificate as error:
        return style(safe(str(error)), "bad")
    until = f"valid until {dt.datetime.fromtimestamp(found.not_after, dt.UTC):%Y-%m-%d}"
    if found.not_after < now:
        until = style(until, "bad")
    elif found.not_after - now < _SOON_SECONDS:
        until = style(until, "warn")
    by = "itself" if found.self_issued else found.issuer
    return f"certificate of {safe(', '.join(found.names[:3]) or found.subject)}, issued by {safe(by)}, {until}"


def _tls_words(handshake: Completed | None) -> str:
    if handshake is None:
        return "no TLS"
    return f"{handshake.version} {handshake.group or handshake.cipher}"


def _draw_attackers(survey: Survey, style: Style) -> Iterator[str]:
    """One line an attacker; where the hosts differ, one line for each of them."""
    asked = [each for each in Attacker if each is not Attacker.FIRST_CONTACT or isinstance(survey.evidence.sts, Known)]
    width = max(len(_ATTACKERS[attacker]) for attacker in asked)
    for attacker in asked:
        told = {
            host.target.host.name: next(each for each in host.prospects if each.attacker is attacker)
            for host in survey.hosts
        }
        alike = len({(each.who_can_read, each.why) for each in told.values()}) == 1
        shown = _ATTACKERS[attacker]
        for name, prospect in told.items():
            who = style("the attacker", "bad") if prospect.who_can_read is Reader.ATTACKER else style("nobody", "good")
            at = "" if alike else f"{name}: "
            yield f"    {shown:<{width}}   {at}{who}: {prospect.why}"
            shown = ""
            if alike:
                break
