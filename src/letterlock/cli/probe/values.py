"""A probe as JSON-able values."""

from letterlock.cli.check.values import lookup_values, reason_values
from letterlock.cli.probe.presented_chain import ChainLink, Findings, Held, records_in_sight
from letterlock.cli.probe.text import as_tlsa, reasons, summary, text_of, would_be_sent
from letterlock.deliver.session import Opened
from letterlock.identity.handshake import Completed, HandshakeFailed
from letterlock.identity.pkix import PkixMatch, PkixMismatch
from letterlock.inspect.probe import ByHand, Mail, Probe, ProbeSession, reference_names
from letterlock.policy.evidence import Origin, TargetHost
from letterlock.queue.tasks import RecipientOutcome


def probe_values(probed: Probe, by_hand: ByHand, findings: Findings, mail: Mail | None) -> dict[str, object]:
    """Everything that `probe` found out about a server."""
    opened = probed.result if isinstance(probed.result, Opened) else None
    achieved = opened.cleared.achieved if opened else None
    return {
        "host": probed.target.host.name,
        "port": probed.target.port,
        "address": probed.address,
        "implicit_tls": by_hand.implicit,
        "required": _required(probed, by_hand),
        "dns": _dns(probed.target),
        "unreached": [{"address": address, "why": why} for address, why in probed.unreached],
        "sessions": [_session(each) for each in probed.sessions],
        "capabilities": sorted(opened.conversation.client.capabilities.keywords) if opened else None,
        "chain": [_certificate(number, each) for number, each in enumerate(findings.chain)],
        "certificates_left_out": findings.left_out,
        "tlsa": [_held(each) for each in findings.held],
        "pkix": _pkix(findings.pkix),
        "verdict": probed.conclusion.value,
        "summary": summary(probed),
        "level": achieved.level.value if achieved else None,
        "by": achieved.by if achieved else None,
        "match": achieved.match if achieved else None,
        "reasons": [reason_values(each) for each in reasons(probed)],
        "sending": None if probed.outcomes or probed.lost else would_be_sent(probed, mail),
        "sent": [_outcome(each) for each in probed.outcomes],
        "session_lost": probed.lost,
    }


def _required(probed: Probe, by_hand: ByHand) -> dict[str, object]:
    return {
        "require": by_hand.demand.value,
        "names": list(reference_names(by_hand, probed.target)),
        "tlsa": [str(record) for record in records_in_sight(probed, by_hand)],
        "tlsa_by_hand": bool(by_hand.records),
        "roots": by_hand.roots.name,
    }


def _dns(target: TargetHost) -> dict[str, object] | None:
    """What DNS said; None for an address, of which it was not asked."""
    if target.host.origin is Origin.LITERAL:
        return None
    return {
        "addresses": list(target.addresses),
        "address_security": target.address_security.value if target.address_security else None,
        "tlsa_base": target.tlsa_base,
        "tlsa": lookup_values(target.tlsa) if target.tlsa else None,
    }


def _session(session: ProbeSession) -> dict[str, object]:
    return {
        "said": [
            {"from": "client" if each.ours else "server", "tls": each.secure, "text": text_of(each)}
            for each in session.said
        ],
        "cut": session.cut,
        "small_client_hello": session.compatible,
        "tls": _handshake(session.handshake),
    }


def _handshake(handshake: Completed | HandshakeFailed | None) -> dict[str, object] | None:
    match handshake:
        case Completed(version=version, cipher=cipher, group=group, sni=sni):
            weaknesses = list(handshake.strength.weaknesses)
            return {"version": version, "cipher": cipher, "group": group, "sni": sni, "weaknesses": weaknesses}
        case HandshakeFailed(detail=detail):
            return {"failed": detail}
    return None


def _certificate(number: int, shown: ChainLink) -> dict[str, object]:
    found = shown.summary
    if found is None:
        return {"readable": False, "fault": shown.fault}
    return {
        "readable": True,
        "subject": found.subject,
        "issuer": found.issuer,
        "names": list(found.names),
        "not_before": found.not_before,
        "not_after": found.not_after,
        "key": shown.key,
        "sha256": found.sha256,
        "spki_sha256": found.spki_sha256,
        "tlsa": as_tlsa(number, found),
    }


def _held(held: Held) -> dict[str, object]:
    return {"record": str(held.record), "matches": held.matches, "detail": held.detail}


def _pkix(found: PkixMatch | PkixMismatch | None) -> dict[str, object] | None:
    match found:
        case PkixMatch():
            return {"trusted": True, "detail": str(found)}
        case PkixMismatch(kind=kind, detail=detail):
            return {"trusted": False, "kind": kind.value, "detail": detail}
    return None


def _outcome(outcome: RecipientOutcome) -> dict[str, object]:
    return {
        "recipient": str(outcome.recipient),
        "outcome": outcome.kind.value,
        "status": outcome.status,
        "text": outcome.text,
        "in_doubt": outcome.in_doubt,
    }
