"""Verdicts as results for an Authentication-Results field (RFC 8601 section 2.7, RFC 9989 section 9.1)."""

from base64 import b64encode
from collections.abc import Sequence

from letterlock.mailauth.arc.verify import ChainVerdict
from letterlock.mailauth.dkim.verify import DkimVerdict
from letterlock.mailauth.dmarc.evaluate import DmarcVerdict
from letterlock.mailauth.results import MethodResult
from letterlock.mailauth.spf.request import Identity
from letterlock.mailauth.spf.verdict import SpfVerdict
from letterlock.resolver.answer import Security

_WEAKEST_FIRST = (Security.INDETERMINATE.value, Security.INSECURE.value, Security.SECURE.value)
_SIGNATURE_CHARACTERS = 8  # of b=, to tell signatures of one domain apart (RFC 6008 section 3)


def spf_result(verdict: SpfVerdict) -> MethodResult:
    """SPF of one identity."""
    request = verdict.request
    helo = request.identity is Identity.HELO
    checked = ("smtp.helo", request.domain) if helo else ("smtp.mailfrom", request.sender)
    return MethodResult(
        method="spf",
        result=verdict.result.value,
        reason=None if verdict.passed else verdict.reason.sentence,
        properties=(checked, *_dnssec(verdict.security)),
    )


def dkim_results(verdicts: Sequence[DkimVerdict]) -> tuple[MethodResult, ...]:
    """DKIM, a result for each signature; `none` without any."""
    if not verdicts:
        return (MethodResult(method="dkim", result="none", comment="no signature"),)
    return tuple(_dkim_result(each) for each in verdicts)


def _dkim_result(verdict: DkimVerdict) -> MethodResult:
    properties: tuple[tuple[str, str], ...] = ()
    if verdict.signature is not None:
        properties = (
            ("header.d", verdict.signature.domain),
            ("header.s", verdict.signature.selector),
            ("header.a", verdict.signature.algorithm.value),
            ("header.b", b64encode(verdict.signature.signature).decode()[:_SIGNATURE_CHARACTERS]),
        )
    return MethodResult(
        method="dkim",
        result=verdict.result.value,
        reason=None if verdict.passed else str(verdict),
        properties=(*properties, *_dnssec(verdict.security.value if verdict.security else None)),
    )


def dmarc_result(verdict: DmarcVerdict) -> MethodResult:
    """DMARC, with the policy that would apply."""
    author = (("header.from", verdict.author),) if verdict.author else ()
    policy = (("policy.dmarc", verdict.policy.value),) if verdict.record else ()
    return MethodResult(
        method="dmarc",
        result=verdict.result.value,
        reason=None if verdict.aligned else verdict.reason.sentence,
        properties=(*author, *policy, *_dnssec(verdict.security)),
    )


def arc_result(verdict: ChainVerdict) -> MethodResult:
    """The ARC chain as a whole, with the domains that sealed it, the first one first."""
    sealers = ", ".join(each.seal.domain for each in verdict.sets)
    states = [each.value for each in verdict.securities if each is not None]
    weakest = next((each for each in _WEAKEST_FIRST if each in states), None)
    return MethodResult(
        method="arc",
        result=verdict.status.value,
        reason=None if verdict.reason is None else str(verdict),
        properties=_dnssec(weakest),
        comment=f"sealed by {sealers}" if sealers else None,
    )


def _dnssec(state: str | None) -> tuple[tuple[str, str], ...]:
    return (("policy.dnssec", state.partition(" ")[0]),) if state else ()
