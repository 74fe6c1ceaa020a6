"""The verdict on a message for people. Everything that a stranger wrote is escaped and cut."""

from collections.abc import Iterator

from letterlock.cli.style import Style
from letterlock.deliver.log import safe
from letterlock.mailauth.dkim.verify import DkimVerdict
from letterlock.mailauth.dmarc.actions import Action, Override
from letterlock.mailauth.dmarc.evaluate import AuthMechanism, DmarcVerdict
from letterlock.mailauth.dmarc.reasons import DmarcResult
from letterlock.mailauth.mail_verdict import MailVerdict
from letterlock.mailauth.spf.evaluate import MAX_LOOKUPS
from letterlock.mailauth.spf.request import Identity
from letterlock.mailauth.spf.verdict import SpfVerdict

_LOOKS = {"pass": "good", "fail": "bad", "none": "dim"}
_ACTIONS = {
    Action.ACCEPT: ("ACCEPTED", "good"),
    Action.QUARANTINE: ("QUARANTINED", "warn"),
    Action.REJECT: ("REJECTED", "bad"),
    Action.DEFER: ("DEFERRED", "warn"),
}
_RESULT_WIDTH = max(len(result) for result in ("permerror", "temperror"))


def draw(verdict: MailVerdict, style: Style) -> list[str]:
    """The lines."""
    return [_headline(verdict, style), "", *_body(verdict, style)]


def _headline(verdict: MailVerdict, style: Style) -> str:
    action, look = _ACTIONS[verdict.disposition.action]
    author = safe(verdict.dmarc.author) if verdict.dmarc.author else "unreadable"
    return f"{style(f'From: {author}', 'bold')}   would be {style(action, look)}, {_whose(verdict.dmarc, author)}"


def _whose(dmarc: DmarcVerdict, author: str) -> str:
    match dmarc.result:
        case DmarcResult.PASS:
            return f"authenticated as {author}"
        case DmarcResult.NONE:
            return "for its author's domain has no DMARC policy"
        case DmarcResult.TEMPERROR:
            return "for it could not be found out whether its author is authentic"
    return "not authenticated as its author"


def _body(verdict: MailVerdict, style: Style) -> Iterator[str]:
    if not verdict.dkim:
        yield _line("DKIM", "none", "the message has no signature", style)
    for number, signature in enumerate(verdict.dkim):
        yield _line("DKIM" if number == 0 else "", signature.result.value, _signer(signature), style)
        yield from (_more(text) for text in _about_signature(signature))
    yield from _draw_spf(verdict, style)
    yield _line("DMARC", verdict.dmarc.result.value, _policy(verdict.dmarc), style)
    yield from (_more(text) for text in _about_policy(verdict))
    yield _line("ARC", verdict.arc.status.value, safe(str(verdict.arc)), style)


def _draw_spf(verdict: MailVerdict, style: Style) -> Iterator[str]:
    if not verdict.spf:
        yield _line("SPF", "none", "not checked: name the client's address with --client", style)
    for number, each in enumerate(verdict.spf):
        yield _line("SPF" if number == 0 else "", each.result.value, _sender(each), style)
        yield from (_more(text) for text in _about_sender(each))


def _line(title: str, result: str, text: str, style: Style) -> str:
    return f"  {title:<6}  {style(f'{result:<{_RESULT_WIDTH}}', _LOOKS.get(result, 'warn'))}  {text}".rstrip()


def _more(text: str) -> str:
    return f"  {'':<6}  {'':<{_RESULT_WIDTH}}  {text}"


def _signer(verdict: DkimVerdict) -> str:
    signature = verdict.signature
    if signature is None:
        return safe(str(verdict))
    key = signature.algorithm.value.removesuffix("-sha256") + (f", {verdict.key_bits} bits" if verdict.key_bits else "")
    return f"{safe(signature.domain)}, selector {safe(signature.selector)} ({key})"


def _about_signature(verdict: DkimVerdict) -> Iterator[str]:
    if verdict.signature is None:
        return
    if not verdict.passed:
        yield safe(str(verdict))
        return
    yield f"covers {safe(_covered(verdict))}"
    if verdict.unsigned_octets:
        yield f"the last {verdict.unsigned_octets} bytes of the body are not signed: anybody may have added them"
    if verdict.weak_key:
        yield "the key is shorter than the 2048 bits that signers should use (RFC 8301 section 3.2)"
    yield _state("key", verdict.security.value if verdict.security else None)


def _covered(verdict: DkimVerdict) -> str:
    names = verdict.signature.names if verdict.signature else ()
    shown = dict.fromkeys(name.decode("latin-1").title() for name in names)
    again = any(names.count(name) > 1 for name in names)
    return " ".join(shown) + (", and that there are no more of some" if again else "")


def _sender(verdict: SpfVerdict) -> str:
    which = "HELO" if verdict.request.identity is Identity.HELO else "MAIL FROM"
    checked = verdict.request.domain if which == "HELO" else verdict.request.sender
    return f"{which} {safe(checked)}: {safe(verdict.reason.sentence)}"


def _about_sender(verdict: SpfVerdict) -> Iterator[str]:
    path = " > ".join(f"{each.domain}: {each.term}" for each in verdict.matches)
    if len(verdict.matches) > 1:
        yield f"by {safe(path)}"
    if verdict.explanation:
        yield f"the domain says: {safe(verdict.explanation)}"
    counted = f"{verdict.lookups} of {MAX_LOOKUPS} lookups" if verdict.lookups else "no further lookups"
    yield f"{counted}, {_state('records', verdict.security)} ({verdict.reason.section})"


def _policy(verdict: DmarcVerdict) -> str:
    if verdict.record is None or verdict.policy_domain is None:
        return safe(verdict.reason.sentence)
    testing = ", which tests (t=y)" if verdict.record.testing else ""
    return f"{safe(verdict.policy_domain)} asks for {verdict.published.value}{testing}: {safe(verdict.reason.sentence)}"


def _about_policy(verdict: MailVerdict) -> Iterator[str]:
    dmarc = verdict.dmarc
    if dmarc.aligned:
        by = [each.value.upper() for each in AuthMechanism if dmarc.aligned_by(each)]
        yield f"aligned by {' and '.join(by)}"
    if verdict.disposition.override is Override.POLICY_TEST_MODE:
        yield f"while the domain tests, {dmarc.policy.value} applies instead of {dmarc.published.value}"
    yield from (safe(each) for each in dmarc.oddities)
    if dmarc.asked:
        yield f"{_state('records', dmarc.security)} ({dmarc.reason.section})"


def _state(what: str, state: str | None) -> str:
    words = {
        "secure": f"{what} proven by DNSSEC",
        "insecure": f"{what} not signed by DNSSEC",
        "indeterminate": f"{what} below no trust anchor",
        "bogus": f"{what} with a broken DNSSEC proof",
    }
    return words.get(state or "", f"{what} not found out")
