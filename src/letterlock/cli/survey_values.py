"""A survey as JSON-able values."""

from letterlock.cli.survey_table import heading
from letterlock.deliver.session import Opened, Refused, Unreachable
from letterlock.deliver.survey import Contact, HostSurvey, Survey
from letterlock.identity.certificates import InvalidCertificate, describe
from letterlock.identity.dane import usable_records
from letterlock.mtasts import Absent, Known, StsEvidence
from letterlock.mtasts import Unreachable as StsUnreachable
from letterlock.policy.advice import Advice, Reporting
from letterlock.policy.decision import DaneAuthentication, PinAuthentication, PkixAuthentication, Requirement
from letterlock.policy.evidence import Completed, HandshakeFailed, Route
from letterlock.policy.outlook import Protection
from letterlock.policy.reasons import Reason, section, sentence, status
from letterlock.policy.require import tlsa_records
from letterlock.resolver import Answer, LookupFailure
from letterlock.tlsrpt import InvalidRecord, NoRecord, ReportAddresses

PROTECTED = frozenset({Protection.PROTECTED, Protection.ONCE_KNOWN})


def survey_values(survey: Survey) -> dict[str, object]:
    """Everything that `check` found out about a domain."""
    routed, rule = survey.routed, survey.evidence.rule
    return {
        "domain": survey.domain,
        "next_hop": str(survey.evidence.next_hop),
        "route": survey.evidence.relay.source if survey.evidence.relay else None,
        "checked_at": survey.at,
        "verdict": heading(survey)[0],
        "protection": survey.summary.protection.value,
        "protected": survey.summary.protection in PROTECTED,
        "summary": survey.summary.sentence,
        "mx": None if survey.evidence.mx is None else lookup_values(survey.evidence.mx) | _proof(survey.evidence.mx),
        "mta_sts": _mta_sts(survey.evidence.sts),
        "tls_reports": _reporting(survey.reporting),
        "rule": {"tls": rule.tls.value, "source": rule.source} if rule else None,
        "reasons": [reason_values(each) for each in routed.reasons],
        "deliverable": isinstance(routed, Route),
        "hosts": [_host(each) for each in survey.hosts],
        "advice": [_advice(each) for each in survey.advice],
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


def _proof(lookup: Answer | LookupFailure) -> dict[str, object]:
    """The chain of trust, from the anchor on."""
    return {
        "proof": [
            {"zone": step.zone, "security": step.security.value, "detail": step.detail, "section": step.section}
            for step in lookup.proof
        ]
    }


def _mta_sts(sts: StsEvidence | None) -> dict[str, object] | None:
    """None: not asked for."""
    match sts:
        case Known(policy=policy):
            return {
                "state": "known",
                "mode": policy.mode.value,
                "id": sts.id,
                "mx": list(policy.mx),
                "max_age": policy.max_age_seconds,
                "fetched_at": sts.fetched_at,
                "expires_at": sts.expires_at,
                "from_cache": sts.from_cache,
                "oddities": list(policy.oddities),
                "trouble": sts.trouble,
                "suspicious": sts.suspicious,
            }
        case Absent(detail=detail):
            return {"state": "absent", "detail": detail}
        case StsUnreachable(detail=detail):
            return {"state": "unreachable", "detail": detail}
    return None


def _reporting(reporting: Reporting | None) -> dict[str, object] | None:
    match reporting:
        case ReportAddresses(uris=uris):
            return {"state": "present", "uris": list(uris)}
        case InvalidRecord(detail=detail):
            return {"state": "invalid", "detail": detail}
        case LookupFailure(detail=detail):
            return {"state": "failed", "detail": detail}
        case NoRecord(nearly=near):
            return {"state": "absent", "detail": None if near is None else str(near)}
    return None


def _advice(advice: Advice) -> dict[str, object]:
    return {
        "kind": advice.kind,
        "subject": advice.subject,
        "what": advice.what,
        "why": advice.why,
        "publish": list(advice.publish),
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
    if isinstance(lookup, LookupFailure):
        return values
    records = tlsa_records(lookup)
    usable = usable_records(records)
    unusable = [str(record) for record in records if record not in usable]
    return values | {"records": [str(record) for record in records], "unusable": unusable}


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
    return values | {"certificate": _certificate(contact.handshake)}


def _certificate(handshake: Completed | None) -> dict[str, object] | None:
    """The server's own certificate, whether or not it proved anything."""
    if handshake is None or not handshake.chain:
        return None
    try:
        found = describe(handshake.chain[0])
    except InvalidCertificate as error:
        return {"readable": False, "fault": str(error)}
    return {
        "readable": True,
        "subject": found.subject,
        "issuer": found.issuer,
        "names": list(found.names),
        "not_before": found.not_before,
        "not_after": found.not_after,
        "sha256": found.sha256,
        "spki_sha256": found.spki_sha256,
    }


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
