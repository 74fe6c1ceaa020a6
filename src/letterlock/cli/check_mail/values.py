"""The verdict on a message as JSON-able values. Every object has all of its keys in every state."""

from letterlock.mailauth.asking import Asked
from letterlock.mailauth.dkim.reasons import explain
from letterlock.mailauth.dkim.verify import DkimVerdict
from letterlock.mailauth.dmarc.evaluate import DmarcVerdict
from letterlock.mailauth.dmarc.reasons import DmarcReason
from letterlock.mailauth.mail_verdict import MailVerdict
from letterlock.mailauth.results import render
from letterlock.mailauth.spf.reasons import SpfReason
from letterlock.mailauth.spf.verdict import SpfVerdict


def mail_values(verdict: MailVerdict, authserv_id: str) -> dict[str, object]:
    """Everything that `check-mail` found out."""
    return {
        "author": verdict.dmarc.author,
        "action": verdict.disposition.action.value,
        "override": verdict.disposition.override.value if verdict.disposition.override else None,
        "dkim": [_dkim(each) for each in verdict.dkim],
        "spf": [_spf(each) for each in verdict.spf],
        "dmarc": _dmarc(verdict.dmarc),
        "arc": {
            "status": verdict.arc.status.value,
            "sets": len(verdict.arc.sets),
            "failed_at": verdict.arc.failed_at,
            "reason": verdict.arc.reason.value if verdict.arc.reason else None,
            "sentence": str(verdict.arc),
        },
        "authentication_results": render(verdict.results(authserv_id)).decode("ascii"),
    }


def _dkim(verdict: DkimVerdict) -> dict[str, object]:
    signature = verdict.signature
    return {
        "result": verdict.result.value,
        "reason": verdict.reason.value if verdict.reason else None,
        "sentence": str(verdict),
        "section": explain(verdict.reason).section if verdict.reason else None,
        "domain": signature.domain if signature else None,
        "selector": signature.selector if signature else None,
        "algorithm": signature.algorithm.value if signature else None,
        "key_bits": verdict.key_bits,
        "covers": [name.decode("latin-1") for name in signature.names] if signature else [],
        "unsigned_octets": verdict.unsigned_octets,
        "testing": verdict.testing,
        "security": verdict.security.value if verdict.security else None,
    }


def _spf(verdict: SpfVerdict) -> dict[str, object]:
    return {
        "identity": verdict.request.identity.value,
        "client": str(verdict.request.client),
        "domain": verdict.request.domain,
        "result": verdict.result.value,
        **_reason(verdict.reason),
        "matches": [{"domain": each.domain, "term": each.term} for each in verdict.matches],
        "explanation": verdict.explanation,
        "lookups": verdict.lookups,
        "void_lookups": verdict.void_lookups,
        "security": verdict.security,
        "asked": [_asked(each) for each in verdict.asked],
    }


def _dmarc(verdict: DmarcVerdict) -> dict[str, object]:
    return {
        "result": verdict.result.value,
        **_reason(verdict.reason),
        "policy_domain": verdict.policy_domain,
        "organizational_domain": verdict.organizational_domain,
        "published": verdict.published.value if verdict.record else None,
        "policy": verdict.policy.value if verdict.record else None,
        "testing": verdict.record.testing if verdict.record else None,
        "aligned": [{"mechanism": each.mechanism.value, "domain": each.domain} for each in verdict.aligned],
        "oddities": list(verdict.oddities),
        "security": verdict.security,
        "asked": [_asked(each) for each in verdict.asked],
    }


def _reason(reason: SpfReason | DmarcReason) -> dict[str, object]:
    return {"reason": reason.code.value, "sentence": reason.sentence, "section": reason.section}


def _asked(asked: Asked) -> dict[str, object]:
    return {
        "question": str(asked.question),
        "security": asked.security.value if asked.security else None,
        "failure": asked.failure.value if asked.failure else None,
    }
