"""A survey as JSON-able values."""

from letterlock.deliver.session import Opened, Refused, Unreachable
from letterlock.deliver.survey import Contact, HostSurvey, Survey
from letterlock.policy.decision import DaneAuthentication, PinAuthentication, PkixAuthentication, Requirement
from letterlock.policy.evidence import Completed, HandshakeFailed, Route
from letterlock.policy.reasons import Reason, section, sentence, status
from letterlock.policy.require import tlsa_records
from letterlock.resolver import Answer, LookupFailure


def survey_values(survey: Survey) -> dict[str, object]:
    """Everything that `check` found out about a domain."""
    routed, rule = survey.routed, survey.evidence.rule
    return {
        "domain": survey.evidence.next_hop.domain,
        "protection": survey.summary.protection.value,
        "protected": survey.summary.protection.value == "protected",
        "summary": survey.summary.sentence,
        "mx": None if survey.evidence.mx is None else lookup_values(survey.evidence.mx),
        "rule": {"tls": rule.tls.value, "source": rule.source} if rule else None,
        "reasons": [reason_values(each) for each in routed.reasons],
        "deliverable": isinstance(routed, Route),
        "hosts": [_host(each) for each in survey.hosts],
    }


def lookup_values(lookup: Answer | LookupFailure) -> dict[str, object]:
    """The state of a lookup."""
    if isinstance(lookup, LookupFailure):
        return {"failure": lookup.kind.value, "detail": lookup.detail, "ede": lookup.ede}
    return {
        "security": lookup.security.value,
        "absence": lookup.absence.value if lookup.absence else None,
        "records": [record.to_text() for record in lookup.records],
        "expires_at": lookup.expires_at,
    }


def reason_values(reason: Reason) -> dict[str, object]:
    """A reason in full."""
    return {
        "code": reason.code,
        "subject": reason.subject,
        "sentence": sentence(reason),
        "section": section(reason),
        "status": status(reason),
    }


def _host(host: HostSurvey) -> dict[str, object]:
    target, required = host.target, host.required
    return {
        "name": target.host.name,
        "preference": target.host.preference,
        "origin": target.host.origin.value,
        "name_secure": target.host.secure,
        "port": target.port,
        "addresses": list(target.addresses),
        "address_security": target.address_security.value if target.address_security else None,
        "tlsa_base": target.tlsa_base,
        "tlsa": None if target.tlsa is None else _tlsa(target.tlsa),
        "requirement": _requirement(required) if isinstance(required, Requirement) else None,
        "reasons": [reason_values(each) for each in required.reasons],
        "protection": host.summary.protection.value,
        "summary": host.summary.sentence,
        "attackers": [
            {"attacker": each.attacker.value, "who_can_read": each.who_can_read.value, "why": each.why}
            for each in host.prospects
        ],
        "sessions": [_contact(each) for each in host.contacts],
    }


def _tlsa(lookup: Answer | LookupFailure) -> dict[str, object]:
    values = lookup_values(lookup)
    return (
        values | {"records": [str(record) for record in tlsa_records(lookup)]} if isinstance(lookup, Answer) else values
    )


def _requirement(requirement: Requirement) -> dict[str, object]:
    authentication = requirement.authentication
    by = {DaneAuthentication: "dane", PkixAuthentication: "pkix", PinAuthentication: "fingerprint"}.get(
        type(authentication)
    )
    return {
        "encryption": requirement.encryption.value,
        "authenticate_by": by,
        "references": list(getattr(authentication, "references", ())),
        "sni": requirement.sni,
    }


def _contact(contact: Contact) -> dict[str, object]:
    values: dict[str, object] = {"address": contact.address}
    match contact.result:
        case Opened(cleared=cleared, handshake=handshake):
            achieved = cleared.achieved
            values |= {"outcome": "cleared", "level": achieved.level.value, "by": achieved.by, "match": achieved.match}
            values |= {"tls": _handshake(handshake), "reasons": [reason_values(each) for each in cleared.reasons]}
        case Refused(verdict=verdict, evidence=evidence):
            values |= {"outcome": "held", "level": None, "tls": _handshake(evidence.handshake)}
            values |= {"reasons": [reason_values(each) for each in verdict.reasons]}
        case Unreachable(status=code, text=text):
            values |= {"outcome": "unreachable", "level": None, "status": code, "detail": text, "reasons": []}
    return values


def _handshake(handshake: Completed | HandshakeFailed | None) -> dict[str, object] | None:
    match handshake:
        case Completed():
            return {
                "version": handshake.version,
                "cipher": handshake.cipher,
                "group": handshake.group,
                "sni": handshake.sni,
            }
        case HandshakeFailed(detail=detail):
            return {"failed": detail}
    return None
