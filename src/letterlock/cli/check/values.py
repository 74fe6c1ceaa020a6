"""A survey as JSON-able values.

Every object has all of its keys in every state, None where there is nothing to say, so that a program may read any of
them without asking first. docs/guides/check.md lists them.
"""

from letterlock.cli.check.table import heading
from letterlock.deliver.session import NotCleared, Unreachable
from letterlock.discover.announced import Announced
from letterlock.identity.certificates import InvalidCertificate, describe
from letterlock.identity.dane import usable_records
from letterlock.identity.handshake import Completed, HandshakeFailed
from letterlock.inspect.outlook import Protection
from letterlock.inspect.recommend import Advice, Reporting
from letterlock.inspect.survey import Contact, HostSurvey, Met, Survey
from letterlock.mtasts import Absent, Known, StsEvidence
from letterlock.mtasts import PolicyUnavailable as StsUnreachable
from letterlock.policy.decision import (
    DaneAuthentication,
    PinAuthentication,
    PkixAuthentication,
    RememberedAuthentication,
    Requirement,
)
from letterlock.policy.evidence import DestinationEvidence, MemoryUnreadable, Route
from letterlock.policy.reasons import Reason, section, sentence, status
from letterlock.policy.require import tlsa_records
from letterlock.resolver import Answer, LookupFailure
from letterlock.tlsrpt import InvalidTLSRPTRecord, NoTLSRPTRecord, ReportAddresses

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
        "mail_authentication": [_announced(each) for each in survey.announced],
        "rule": {"tls": rule.tls.value, "source": rule.source} if rule else None,
        "memory": _memory(survey.evidence),
        "reasons": [reason_values(each) for each in routed.reasons],
        "deliverable": isinstance(routed, Route),
        "hosts": [_host(each) for each in survey.hosts],
        "advice": [_advice(each) for each in survey.advice],
    }


def lookup_values(lookup: Answer | LookupFailure) -> dict[str, object]:
    """The state of a lookup: an answer, an absence, or a failure."""
    failed = lookup if isinstance(lookup, LookupFailure) else None
    answer = lookup if isinstance(lookup, Answer) else None
    return {
        "security": answer.security.value if answer else None,
        "absence": answer.absence.value if answer and answer.absence else None,
        "records": [record.to_text() for record in answer.records] if answer else [],
        "expires_at": answer.expires_at if answer else None,
        "failure": failed.kind.value if failed else None,
        "detail": failed.detail if failed else None,
        "ede": failed.ede if failed else None,
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
    if sts is None:
        return None
    known = sts if isinstance(sts, Known) else None
    return {
        "state": {Known: "known", Absent: "absent", StsUnreachable: "unreachable"}[type(sts)],
        "detail": None if isinstance(sts, Known) else sts.detail,
        "mode": known.policy.mode.value if known else None,
        "id": known.id if known else None,
        "mx": list(known.policy.mx) if known else [],
        "max_age": known.policy.max_age_seconds if known else None,
        "fetched_at": known.fetched_at if known else None,
        "expires_at": known.expires_at if known else None,
        "from_cache": known.from_cache if known else None,
        "oddities": list(known.policy.oddities) if known else [],
        "trouble": known.trouble if known else None,
        "suspicious": known.suspicious if known else None,
    }


def _reporting(reporting: Reporting | None) -> dict[str, object] | None:
    """None: not asked for."""
    if reporting is None:
        return None
    match reporting:
        case ReportAddresses():
            state, detail = "present", None
        case InvalidTLSRPTRecord():
            state, detail = "invalid", reporting.detail
        case LookupFailure():
            state, detail = "failed", reporting.detail
        case NoTLSRPTRecord():
            state, detail = "absent", None if reporting.nearly is None else str(reporting.nearly)
    uris = list(reporting.uris) if isinstance(reporting, ReportAddresses) else []
    return {"state": state, "uris": uris, "detail": detail}


def _announced(found: Announced) -> dict[str, object]:
    return {"method": found.method, "state": found.state, "detail": found.detail, "security": found.security}


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


def _memory(evidence: DestinationEvidence) -> dict[str, object] | None:
    """What the server remembers of the domain; None: nothing, or it is not looked at."""
    memory = evidence.memory
    if memory is None or isinstance(memory, MemoryUnreadable):
        return None if memory is None else {"mode": evidence.memory_mode.value, "trouble": memory.detail}
    return {
        "mode": evidence.memory_mode.value,
        "trouble": None,
        "known_hosts": [each.name for each in memory.known_hosts(evidence.at)],
        "gone": [each.what.value for each in memory.alarms(evidence.at)],
    }


def _tlsa(lookup: Answer | LookupFailure) -> dict[str, object]:
    records = tlsa_records(lookup) if isinstance(lookup, Answer) else ()
    usable = usable_records(records)
    unusable = [str(record) for record in records if record not in usable]
    return lookup_values(lookup) | {"records": [str(record) for record in records], "unusable": unusable}


def _requirement(requirement: Requirement) -> dict[str, object]:
    authentication = requirement.authentication
    by = {
        DaneAuthentication: "dane",
        PkixAuthentication: "pkix",
        PinAuthentication: "fingerprint",
        RememberedAuthentication: "memory",
    }.get(type(authentication))
    return {
        "encryption": requirement.encryption.value,
        "authenticate_by": by,
        "references": list(getattr(authentication, "references", ())),
        "also": list(requirement.also.references) if requirement.also is not None else None,
        "sni": requirement.sni,
    }


def _contact(contact: Contact) -> dict[str, object]:
    achieved = contact.result.cleared.achieved if isinstance(contact.result, Met) else None
    lost = contact.result if isinstance(contact.result, Unreachable) else None
    return {
        "address": contact.address,
        "outcome": _OUTCOMES[type(contact.result)],
        "level": achieved.level.value if achieved else None,
        "by": achieved.by if achieved else None,
        "match": achieved.match if achieved else None,
        "status": lost.status if lost else None,
        "detail": lost.text if lost else None,
        "tls": None if isinstance(contact.result, Unreachable) else _handshake(contact.result.evidence.handshake),
        "certificate": _certificate(contact.handshake),
        "reasons": [reason_values(each) for each in _reasons(contact.result)],
    }


_OUTCOMES: dict[type, str] = {Met: "cleared", NotCleared: "held", Unreachable: "unreachable"}


def _reasons(result: Met | NotCleared | Unreachable) -> tuple[Reason, ...]:
    match result:
        case Met(cleared=cleared):
            return cleared.reasons
        case NotCleared(verdict=verdict):
            return verdict.reasons
    return ()


def _certificate(handshake: Completed | None) -> dict[str, object] | None:
    """The server's own certificate, whether or not it proved anything; None: there was none."""
    if handshake is None or not handshake.chain:
        return None
    try:
        found, fault = describe(handshake.chain[0]), None
    except InvalidCertificate as error:
        found, fault = None, str(error)
    return {
        "readable": found is not None,
        "fault": fault,
        "subject": found.subject if found else None,
        "issuer": found.issuer if found else None,
        "names": list(found.names) if found else [],
        "not_before": found.not_before if found else None,
        "not_after": found.not_after if found else None,
        "sha256": found.sha256 if found else None,
        "spki_sha256": found.spki_sha256 if found else None,
    }


def _handshake(handshake: Completed | HandshakeFailed | None) -> dict[str, object] | None:
    """None: there was none."""
    if handshake is None:
        return None
    done = handshake if isinstance(handshake, Completed) else None
    strength = done.strength if done else None
    return {
        "version": done.version if done else None,
        "cipher": done.cipher if done else None,
        "group": done.group if done else None,
        "sni": done.sni if done else None,
        "key": str(strength.key) if strength and strength.key else None,
        "forward_secret": strength.forward_secret if strength else None,
        "weaknesses": list(strength.weaknesses) if strength else [],
        "failed": None if isinstance(handshake, Completed) else handshake.detail,
    }
