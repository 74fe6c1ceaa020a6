"""Whether a session with implicit TLS may take the place of one with STARTTLS, and what must hold in it.

No standard defines implicit TLS between servers: RFC 8314 section 7.3 gives port 465 to submission. So a host must
announce it, in signed DNS: by TLSA records for port 465 (RFC 6698 section 3 has the port in their name), or by an SRV
record of the service `smtp-tls` that names the host (draft-nurpmeso-smtp-tls-srv). SRV records never add a host to
those that MX records name.

What must hold is decided by `require`, as for any other port, and has to be at least what must hold with STARTTLS:
where DANE is demanded of the usual port, it is demanded of this one too. That an announced port does not answer, or
does not show what must hold, proves nothing, and changes nothing about STARTTLS.
"""

from dns.rdtypes.IN.SRV import SRV

from letterlock.policy.decision import DaneAuthentication, Defer, Demander, Refuse, Requirement, SkipHost
from letterlock.policy.evidence import DestinationEvidence, TargetHost
from letterlock.resolver.answer import Answer, Security

IMPLICIT_PORT = 465  # RFC 8314 section 7.3


def may_announce(target: TargetHost) -> bool:
    """Whether there can be signed records about the host: only then anything more is looked up."""
    return target.address_security is Security.SECURE


def announced_by_srv(evidence: DestinationEvidence, host: str, port: int) -> bool:
    """Whether signed SRV records announce implicit TLS at one of the MX hosts, on this very port.

    A record can name any port, and then every domain could make this server connect to any port of any address; so
    there is one port only.
    """
    found = evidence.smtp_tls
    if not isinstance(found, Answer) or not found.secure:
        return False
    return any(
        record.port == port and record.target.to_text(omit_final_dot=True).lower() == host
        for record in found.records
        if isinstance(record, SRV)
    )


def implicit_requirement(
    usual: Requirement, found: Requirement | SkipHost | Defer | Refuse, *, by_srv: bool
) -> Requirement | None:
    """What must hold with implicit TLS, where `usual` must hold with STARTTLS; None: it is not announced, or less.

    `found` is the requirement for that port, as `require` gives it; `by_srv`: an SRV record announces it.
    """
    if not isinstance(found, Requirement):
        return None
    by_tlsa = isinstance(found.authentication, DaneAuthentication)
    if not by_tlsa and (not by_srv or Demander.DANE in usual.demanders):
        return None
    return found if usual.demanders <= found.demanders | {Demander.DANE} else None
