"""What a lookup means for a decision: found, provably or acceptably absent, or could not find out (RFC 7672 2.1)."""

from letterlock.policy.codes import Code
from letterlock.policy.evidence import TargetHost
from letterlock.policy.reasons import Reason
from letterlock.resolver.answer import Answer, FailureKind, LookupFailure, Security

_MAX_DETAIL = 200  # chosen: of a remote text, in a line of the log


def unknown(subject: str, what: str, lookup: Answer | LookupFailure, *, failed: Code, bogus: Code) -> Reason | None:
    """Why a lookup could not find out, or None for an answer to go by.

    Bogus, timeout, SERVFAIL and the like, and also an answer that no trust anchor covers: none of them means absence
    (RFC 7672 section 2.1.1). `failed` and `bogus` are the codes to use, unless it is our own resolver that is silent;
    `what` was asked for.
    """
    if isinstance(lookup, LookupFailure) and lookup.kind is FailureKind.NO_UPSTREAM:
        facts = (("what", what), ("detail", said(lookup.detail)))
        return Reason(code=Code.RFC7672_2_1_2_NO_RESOLVER, subject=subject, facts=facts)
    if isinstance(lookup, LookupFailure):
        code = bogus if lookup.kind is FailureKind.BOGUS else failed
        return Reason(code=code, subject=subject, facts=(("kind", lookup.kind.value), ("detail", said(lookup.detail))))
    if lookup.security in (Security.INDETERMINATE, Security.BOGUS):
        return Reason(code=Code.RFC7672_2_1_1_INDETERMINATE, subject=subject, facts=(("what", what),))
    return None


def tlsa_unknown(target: TargetHost) -> Reason | None:
    """Why the TLSA lookup of a host could not find out; None also where it was rightly not asked for."""
    if target.tlsa is None:
        return None
    return unknown(
        target.host.name,
        "its TLSA answer",
        target.tlsa,
        failed=Code.RFC7672_2_1_2_TLSA_LOOKUP_FAILED,
        bogus=Code.RFC7672_2_1_2_TLSA_BOGUS,
    )


def said(text: str) -> str:
    """A text from outside, made fit for a sentence: printable, one line, at most 200 characters."""
    if len(text) <= _MAX_DETAIL and text.isprintable():
        return text
    clean = "".join(character if character.isprintable() else "?" for character in text[: _MAX_DETAIL + 1])
    return clean if len(clean) <= _MAX_DETAIL else clean[:_MAX_DETAIL] + "..."
