"""A survey for people: one block a domain, readable without colour."""

from collections.abc import Iterator

from letterlock.cli.style import Style
from letterlock.deliver.log import safe
from letterlock.deliver.session import Opened, Refused, Unreachable
from letterlock.deliver.survey import Contact, HostSurvey, Survey
from letterlock.policy.decision import Defer, Refuse
from letterlock.policy.evidence import Completed, Origin
from letterlock.policy.outlook import Attacker, Protection, Reader
from letterlock.policy.reasons import Reason, section, sentence
from letterlock.resolver import Answer, LookupFailure

_HEADINGS = {
    Protection.PROTECTED: ("PROTECTED", "good"),
    Protection.UNPROTECTED: ("NOT PROTECTED", "bad"),
    Protection.HELD: ("HELD", "warn"),
    Protection.UNKNOWN: ("COULD NOT FIND OUT", "warn"),
}
_ATTACKERS = {
    Attacker.REMOVES_STARTTLS: "on the path, removing STARTTLS",
    Attacker.OWN_CERTIFICATE: "on the path, own certificate",
    Attacker.FORGES_DNS: "forging DNS answers",
    Attacker.BOUGHT_CERTIFICATE: "with a bought certificate",
}
_ORIGINS = {Origin.MX: "MX", Origin.IMPLICIT_MX: "no MX, host", Origin.LITERAL: "address"}


def draw_survey(survey: Survey, style: Style) -> list[str]:
    """The lines for one domain."""
    word, look = _HEADINGS[survey.summary.protection]
    if isinstance(survey.routed, Refuse):
        word = "NO MAIL"
    lines = [
        f"{style(survey.evidence.next_hop.domain, 'bold')}   {style(word, look)}",
        f"  {safe(survey.summary.sentence)}",
        "",
    ]
    lines += _draw_mx(survey, style)
    for host in survey.hosts:
        lines += ["", *_draw_host(host, style, told=len(survey.hosts) > 1)]
    if survey.hosts:
        lines += ["", f"  {style('Who could read this mail?', 'bold')}", *_draw_attackers(survey.hosts, style)]
    return lines


def _draw_mx(survey: Survey, style: Style) -> Iterator[str]:
    mx, rule = survey.evidence.mx, survey.evidence.rule
    if isinstance(mx, LookupFailure):
        yield f"  MX lookup   {style('failed', 'bad')}: {mx.kind}, {safe(mx.detail)}"
    elif isinstance(mx, Answer):
        zones = " > ".join(dict.fromkeys(step.zone for step in mx.proof))
        what = f"absent ({mx.absence})" if mx.absence else "found"
        yield f"  MX lookup   {what}, {style.state(mx.security.value)}: {zones or 'no trust anchor covers it'}"
        if mx.proof and not mx.secure:
            yield f"              {safe(mx.proof[-1].detail)}  {style(f'[{mx.proof[-1].section}]', 'dim')}"
    if rule:
        yield f"  your rule   {rule.tls}  {style(f'[{rule.source}]', 'dim')}"
    if isinstance(survey.routed, Defer | Refuse):
        yield from (_reason(each, style) for each in survey.routed.reasons)


def _draw_host(host: HostSurvey, style: Style, *, told: bool) -> Iterator[str]:
    """One host; `told`: with its own sentence, where there are others beside it."""
    target = host.target
    origin = _ORIGINS[target.host.origin]
    preference = f" {target.host.preference}" if target.host.origin is Origin.MX else ""
    summary = f"   {safe(host.summary.sentence)}" if told else ""
    yield f"  {origin}{preference}  {style(target.host.name, 'bold')}{summary}"
    if target.tlsa_base is not None:
        yield f"    TLSA _{target.port}._tcp.{target.tlsa_base}: {_tlsa_words(target.tlsa)}"
    for reason in host.required.reasons:
        yield _reason(reason, style)
    for contact in host.contacts:
        yield from _draw_contact(contact, style)


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


def _draw_contact(contact: Contact, style: Style) -> Iterator[str]:
    match contact.result:
        case Opened(cleared=cleared, handshake=handshake):
            by = f" by {cleared.achieved.by}" if cleared.achieved.by else ""
            met = f" ({safe(cleared.achieved.match)})" if cleared.achieved.match else ""
            level = style.state(cleared.achieved.level.value)
            yield f"    {contact.address}   {level}{by}{met}   {_tls_words(handshake)}"
        case Refused(verdict=verdict, evidence=evidence):
            tls = evidence.handshake if isinstance(evidence.handshake, Completed) else None
            yield f"    {contact.address}   {style('held', 'warn')}   {_tls_words(tls)}"
            yield from (f"  {_reason(each, style)}" for each in verdict.reasons)
        case Unreachable(text=text):
            yield f"    {contact.address}   {style('not reached', 'warn')}: {safe(text)}"


def _tls_words(handshake: Completed | None) -> str:
    if handshake is None:
        return "no TLS"
    return f"{handshake.version} {handshake.group or handshake.cipher}"


def _draw_attackers(hosts: tuple[HostSurvey, ...], style: Style) -> Iterator[str]:
    """One line an attacker; where the hosts differ, one line for each of them."""
    width = max(len(words) for words in _ATTACKERS.values())
    for attacker, words in _ATTACKERS.items():
        told = {
            host.target.host.name: next(each for each in host.prospects if each.attacker is attacker) for host in hosts
        }
        alike = len({(each.who_can_read, each.why) for each in told.values()}) == 1
        shown = words
        for name, prospect in told.items():
            who = style("the attacker", "bad") if prospect.who_can_read is Reader.ATTACKER else style("nobody", "good")
            at = "" if alike else f"{name}: "
            yield f"    {shown:<{width}}   {at}{who}: {prospect.why}"
            shown = ""
            if alike:
                break
