"""From the verdict on a message to what a listener does with it: the operator's choice, applied. Pure.

DMARC decides first: mail that passes is accepted, whatever SPF found (RFC 9989 section 5.4). Other mail is treated as
the operator chose; without a choice it is marked and accepted, for a receiver must not reject by a policy of p=reject
alone (RFC 9989 section 7.4).
"""

from dataclasses import dataclass

from letterlock.mail.names import InvalidName, normalise
from letterlock.mail.replies import Reply
from letterlock.mailauth.dmarc.actions import OBSERVE, Action, Choice, Disposition, Override
from letterlock.mailauth.dmarc.reasons import DmarcResult
from letterlock.mailauth.mail_verdict import MailVerdict
from letterlock.mailauth.results import InvalidResults, MethodResult, parse
from letterlock.mailauth.spf.reasons import SpfResult
from letterlock.mailauth.spf.verdict import SpfVerdict

MAX_REPLY_CHARACTERS = 400  # a reply line has at most 512 octets (RFC 5321 section 4.5.3.1.5), code and status included
_ACCEPTED = Disposition(Action.ACCEPT)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivingPolicy:
    """The operator's choice: by DMARC; and, where DMARC does not pass, for MAIL FROM that SPF fails or cannot check.

    `spf_fail` is ACCEPT, QUARANTINE or REJECT, `spf_temperror` ACCEPT or DEFER. `trusted_sealers` are domains (and
    those below them) whose word counts for mail that passed DMARC when it came to the first of them.
    """

    dmarc: Choice = OBSERVE
    spf_fail: Action = Action.ACCEPT
    spf_temperror: Action = Action.ACCEPT
    trusted_sealers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, and why: with the reply for a message that is not accepted."""

    done: Disposition
    why: str = ""
    reply: Reply | None = None


def decide(verdict: MailVerdict, policy: ReceivingPolicy) -> Decision:
    """What becomes of a message whose DMARC verdict was made with the same policy's choice."""
    if verdict.dmarc.result is DmarcResult.PASS:
        return Decision(_ACCEPTED)
    if policy.trusted_sealers and verdict.dmarc.result is DmarcResult.FAIL and _is_vouched_for(verdict, policy):
        return Decision(Disposition(Action.ACCEPT, Override.TRUSTED_FORWARDER))
    mail_from = verdict.spf[-1] if verdict.spf else None
    by_dmarc = _by_dmarc(verdict)
    if by_dmarc.done.action in (Action.REJECT, Action.DEFER) or mail_from is None:
        return by_dmarc
    by_spf = _by_spf(mail_from, policy)
    stays = by_spf.done.action is Action.ACCEPT or by_dmarc.done.action is by_spf.done.action
    return by_dmarc if stays else by_spf


def _is_vouched_for(verdict: MailVerdict, policy: ReceivingPolicy) -> bool:
    """Whether the chain holds, all who sealed it are trusted, and the first of them found the author authentic.

    All: each may have changed the message (RFC 8617 section 7.2).
    """
    chain = verdict.arc
    if not chain.passed or not all(_is_trusted(each.seal.domain, policy.trusted_sealers) for each in chain.sets):
        return False
    _, _, value = chain.sets[0].results.value.partition(b";")  # behind i=1
    try:
        first = parse(value.decode())
    except (UnicodeDecodeError, InvalidResults):  # fails closed: what cannot be read vouches for nothing
        return False
    found = [each for each in first.results if each.method == "dmarc"]
    return len(found) == 1 and found[0].result == "pass" and _author(found[0]) == verdict.dmarc.author


def _is_trusted(domain: str, trusted: frozenset[str]) -> bool:
    while domain:
        if domain in trusted:
            return True
        domain = domain.partition(".")[2]
    return False


def _author(result: MethodResult) -> str | None:
    """The author's domain that a result is about, in A-labels."""
    try:
        return normalise(dict(result.properties).get("header.from", "").rpartition("@")[2])
    except InvalidName:  # equal to no author's domain
        return None


def _by_dmarc(verdict: MailVerdict) -> Decision:
    dmarc, done = verdict.dmarc, verdict.disposition
    reason = dmarc.reason.sentence
    if dmarc.result is DmarcResult.FAIL:
        asks = f"{dmarc.policy_domain} asks for {dmarc.published.value} of mail that is not authenticated as its own"
        why = f"DMARC: {asks}: {reason}"
        codes = {Action.REJECT: (550, "5.7.1"), Action.DEFER: (451, "4.7.1")}
    else:
        why = f"DMARC: {reason}"
        codes = {Action.REJECT: (550, "5.7.1"), Action.DEFER: (451, "4.7.0")}
    return _decision(done, why, codes)


def _by_spf(verdict: SpfVerdict, policy: ReceivingPolicy) -> Decision:
    """The status codes are those of RFC 7372 section 3.2."""
    why, local = f"SPF: {verdict.reason.sentence}", Override.LOCAL_POLICY
    if verdict.result is SpfResult.FAIL:
        said = f"; {verdict.request.domain} explains: {verdict.explanation}" if verdict.explanation else ""
        done = Disposition(policy.spf_fail, local)
        return _decision(done, why + said, {Action.REJECT: (550, "5.7.23")})
    if verdict.result is SpfResult.TEMPERROR:
        return _decision(Disposition(policy.spf_temperror, local), why, {Action.DEFER: (451, "4.7.24")})
    return Decision(_ACCEPTED)


def _decision(done: Disposition, why: str, codes: dict[Action, tuple[int, str]]) -> Decision:
    if done.action not in codes:
        return Decision(done, why)
    code, status = codes[done.action]
    return Decision(done, why, Reply(code, (f"{status} {_one_line(why)}",)))


def _one_line(text: str) -> str:
    """Printable ASCII that fits into one reply line: domains and explanations are text from outside."""
    shown = "".join(each if " " <= each <= "~" else "?" for each in text[: MAX_REPLY_CHARACTERS + 1])
    return shown if len(shown) <= MAX_REPLY_CHARACTERS else f"{shown[: MAX_REPLY_CHARACTERS - 3]}..."
