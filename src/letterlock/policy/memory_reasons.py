"""The reasons of memory: what a domain always had, and what follows when it is gone."""

from letterlock.policy.codes import Code
from letterlock.policy.explanation import NOTHING, Finding, ResultType, row

_MEMORY = "Letterlock's memory"
_COMPARE = (
    "compare with another network; `letterlock memory show` says what is known. If the change is honest, "
    "`letterlock memory forget DOMAIN` accepts it at once; otherwise delivery is tried again"
)
_SETTLES = f"nothing, if the change is honest: it is accepted when it has lasted a day. Otherwise {_COMPARE}"

MEMORY = (
    row(
        Code.MEMORY_DEMANDS_TLS,
        _MEMORY,
        "2.0.0",
        "mail to {domain} went inside TLS on {days} days from {first} to {last}, so it must go inside TLS now",
        NOTHING,
    ),
    row(
        Code.MEMORY_DEMANDS_CERTIFICATE,
        _MEMORY,
        "2.0.0",
        "the host had a certificate that could be verified on {days} days from {first} to {last}, and must have one "
        "now",
        NOTHING,
    ),
    row(
        Code.MEMORY_NEW_HOST,
        _MEMORY,
        "4.7.5",
        "mail to {domain} never went to this host before, but to {hosts}, and nothing proves that it is the domain's; "
        "seen first on {gone_since}",
        _COMPARE,
        ResultType.VALIDATION_FAILURE,
    ),
    row(
        Code.MEMORY_DNSSEC_GONE,
        _MEMORY,
        "4.7.5",
        "{domain} was signed with DNSSEC on {days} days from {first} to {last}, and is not now; seen first on "
        "{gone_since}, and accepted from {until} if that is still so",
        _SETTLES,
        ResultType.DNSSEC_INVALID,
    ),
    row(
        Code.MEMORY_MTA_STS_GONE,
        _MEMORY,
        "4.7.5",
        "{domain} had an MTA-STS policy on {days} days from {first} to {last}, and none can be found now; seen first "
        "on {gone_since}",
        _COMPARE,
        ResultType.STS_POLICY_FETCH_ERROR,
    ),
    row(
        Code.MEMORY_DANE_GONE,
        _MEMORY,
        "4.7.5",
        "the host had signed TLSA records on {days} days from {first} to {last}, and has none now; seen first on "
        "{gone_since}, and accepted from {until} if that is still so",
        _SETTLES,
        ResultType.DANE_REQUIRED,
    ),
    row(
        Code.MEMORY_NO_STARTTLS,
        _MEMORY,
        "4.7.5",
        "STARTTLS was not offered, though mail to {domain} went inside TLS on {days} days from {first} to {last}; an "
        "attacker on the path may have removed it",
        _COMPARE,
        ResultType.STARTTLS_NOT_SUPPORTED,
    ),
    row(
        Code.MEMORY_STARTTLS_REFUSED,
        _MEMORY,
        "4.7.5",
        "STARTTLS was refused ({reply}), though mail to {domain} went inside TLS on {days} days from {first} to {last}",
        _COMPARE,
        ResultType.STARTTLS_NOT_SUPPORTED,
    ),
    row(
        Code.MEMORY_HANDSHAKE_FAILED,
        _MEMORY,
        "4.7.5",
        "the TLS handshake failed ({detail}), though mail to {domain} went inside TLS on {days} days from {first} to "
        "{last}",
        _COMPARE,
        ResultType.VALIDATION_FAILURE,
    ),
    row(
        Code.MEMORY_OTHER_CERTIFICATE,
        _MEMORY,
        "4.7.5",
        "the host had a certificate that could be verified on {days} days from {first} to {last}; now it has another "
        "key, and: {detail}",
        _COMPARE,
        ResultType.CERTIFICATE_NOT_TRUSTED,
    ),
    row(
        Code.MEMORY_SAME_KEY,
        _MEMORY,
        "2.0.0",
        "the server has a key that was verified for this host before",
        NOTHING,
    ),
    row(
        Code.MEMORY_VERIFIED,
        _MEMORY,
        "2.0.0",
        "verified by WebPKI, as before: {match}",
        NOTHING,
    ),
    row(
        Code.MEMORY_WOULD_HOLD,
        _MEMORY,
        "2.0.0",
        '{what} would have held this mail with memory = "hold": {reason}',
        "`letterlock memory show DOMAIN` says what changed and since when; compare with another network",
        finding=Finding.AUDITED,
    ),
    row(
        Code.MEMORY_VANISHED,
        _MEMORY,
        "4.7.5",
        "unsigned DNS says that {domain} accepts no mail ({what}), but mail went there before: the answer may be "
        "forged",
        "compare with DNS from another network; if the domain has gone for good, `letterlock memory forget DOMAIN`",
    ),
    row(
        Code.MEMORY_UNREADABLE,
        _MEMORY,
        "4.7.5",
        "could not find out what is remembered of the domain, and mail is to wait when something is gone: {detail}",
        "`letterlock memory list` says what is wrong with the file; mail in mode observe is not affected",
    ),
)
