"""The results of DANE and MTA-STS for one host, in the words that metrics count by.

A projection of the reasons of a requirement: it explains, and decides nothing.
"""

from collections.abc import Iterable, Mapping

from letterlock.policy.codes import Code
from letterlock.policy.decision import SkipHost, SkipKind
from letterlock.policy.reasons import Reason

_DANE: Mapping[str, str] = {
    Code.RFC7672_2_2_USABLE: "ok",
    Code.RFC7672_2_2_UNUSABLE: "unusable",
    Code.RFC7672_2_2_NO_TLSA: "not_applicable",
    Code.RFC7672_2_2_INSECURE_TLSA: "insecure_chain",
    Code.RFC7672_2_2_2_INSECURE_ADDRESS: "insecure_chain",
}
_STS: Mapping[str, str] = {
    Code.RFC8461_5_ENFORCE: "enforce",
    Code.RFC8461_5_TESTING: "testing",
    Code.RFC8461_5_NONE: "none",
    Code.RFC8461_3_3_UNREACHABLE: "unavailable",
}
_UNSIGNED = ("proof", "in an unsigned zone")


def dane_result(reasons: Iterable[Reason]) -> str | None:
    """What was found about DANE; None for a host that has no name, and for reasons that say nothing of it."""
    for reason in reasons:
        if (result := _DANE.get(reason.code)) is not None:
            return "insecure_chain" if result == "not_applicable" and _UNSIGNED in reason.facts else result
    return None


def sts_result(reasons: Iterable[Reason]) -> str | None:
    """The mode of the MTA-STS policy; None for a domain that announces none."""
    return next((result for reason in reasons if (result := _STS.get(reason.code)) is not None), None)


def skipped_dane_result(skipped: SkipHost) -> str | None:
    """The same for a host that may not have the message."""
    return "tempfail" if skipped.kind is SkipKind.TLSA_UNKNOWN else dane_result(skipped.reasons)


def skipped_sts_result(skipped: SkipHost) -> str | None:
    """The same for a host that may not have the message."""
    return "mx_mismatch" if skipped.kind is SkipKind.MTA_STS else sts_result(skipped.reasons)
