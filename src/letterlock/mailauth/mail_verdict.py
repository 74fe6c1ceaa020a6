"""Everything that was found of a message: DKIM, ARC, SPF, DMARC, and what follows from it. Pure."""

from dataclasses import dataclass

from letterlock.mailauth.arc.verify import ChainVerdict
from letterlock.mailauth.dkim.reasons import DkimResult
from letterlock.mailauth.dkim.verify import DkimVerdict
from letterlock.mailauth.dmarc.actions import Disposition
from letterlock.mailauth.dmarc.author import NoAuthor, author_domains
from letterlock.mailauth.dmarc.evaluate import AuthMechanism, DmarcVerdict, Evidence, Identifier, MechanismOutcome
from letterlock.mailauth.dmarc.writing import Observation, observation
from letterlock.mailauth.message import Message
from letterlock.mailauth.reporting import arc_result, dkim_results, dmarc_result, spf_result
from letterlock.mailauth.results import AuthenticationResults
from letterlock.mailauth.spf.reasons import SpfResult
from letterlock.mailauth.spf.verdict import SpfVerdict


@dataclass(frozen=True, slots=True, kw_only=True)
class MailVerdict:
    """Everything that was found. `spf` is empty when no client is known; else it has HELO first, if that was given."""

    dkim: tuple[DkimVerdict, ...]
    arc: ChainVerdict
    spf: tuple[SpfVerdict, ...]
    dmarc: DmarcVerdict
    disposition: Disposition

    def results(self, authserv_id: str) -> AuthenticationResults:
        """The same as an Authentication-Results field has it."""
        spf = tuple(spf_result(each) for each in self.spf)
        chain = (arc_result(self.arc),)
        methods = (*spf, *dkim_results(self.dkim), dmarc_result(self.dmarc), *chain)
        return AuthenticationResults(authserv_id=authserv_id, results=methods)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthenticatedMail:
    """A message from elsewhere, what was found of it, and what was done: what observers are shown.

    `client` is the IP address that it came from, `done` what became of it. `received_at` is in seconds since 1970.
    """

    id: str
    received_at: float
    client: str
    verdict: MailVerdict
    done: Disposition

    @property
    def observation(self) -> Observation | None:
        """What it adds to our DMARC report for its author's domain; None where there is nothing to report."""
        verdict = self.verdict
        spf = verdict.spf[-1] if verdict.spf else None
        return observation(verdict.dmarc, self.done, self.client, verdict.dkim, spf)


def evidence(message: Message, dkim: tuple[DkimVerdict, ...], spf: tuple[SpfVerdict, ...]) -> Evidence:
    """What DMARC judges: the authors, the signing domains, and the domain of MAIL FROM (RFC 9989 section 4.4)."""
    signed = [
        Identifier(AuthMechanism.DKIM, each.signature.domain, _dkim_outcome(each.result))
        for each in dkim
        if each.signature is not None
    ]
    sent = [Identifier(AuthMechanism.SPF, each.request.domain.lower(), _spf_outcome(each.result)) for each in spf[-1:]]
    try:
        return Evidence(authors=author_domains(message), identifiers=(*signed, *sent))
    except NoAuthor as error:
        return Evidence(authors=(), identifiers=(*signed, *sent), fault=str(error))


def _dkim_outcome(result: DkimResult) -> MechanismOutcome:
    return {DkimResult.PASS: MechanismOutcome.PASS, DkimResult.TEMPERROR: MechanismOutcome.UNKNOWN}.get(
        result, MechanismOutcome.FAIL
    )


def _spf_outcome(result: SpfResult) -> MechanismOutcome:
    return {SpfResult.PASS: MechanismOutcome.PASS, SpfResult.TEMPERROR: MechanismOutcome.UNKNOWN}.get(
        result, MechanismOutcome.FAIL
    )
