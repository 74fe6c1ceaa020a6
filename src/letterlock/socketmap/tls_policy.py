"""The right-hand side of smtp_tls_policy_maps, as text that Postfix parses (postconf(5))."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class TlsLevel(StrEnum):
    """A TLS security level of Postfix' SMTP client (TLS_README)."""

    MAY = "may"
    ENCRYPT = "encrypt"
    DANE = "dane"
    DANE_ONLY = "dane-only"
    FINGERPRINT = "fingerprint"
    VERIFY = "verify"
    SECURE = "secure"


_OLDER = {"TLSv1.2": "!SSLv2:!SSLv3:!TLSv1:!TLSv1.1", "TLSv1.3": "!SSLv2:!SSLv3:!TLSv1:!TLSv1.1:!TLSv1.2"}
"""The protocols to leave out, in the form that every version of Postfix reads."""


class Unwritable(ValueError):
    """A value cannot be written as an attribute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StsAttributes:
    """The MTA-STS policy behind an answer, for Postfix 3.10 and later (TLSRPT_README)."""

    domain: str
    mode: str
    mx: tuple[str, ...]
    max_age_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsPolicy:
    """A level with its attributes. Names are A-labels or Postfix' own words; `match` are hex digests at FINGERPRINT."""

    level: TlsLevel
    match: tuple[str, ...] = ()
    servername: str | None = None
    tafile: str | None = None
    minimum_version: str | None = None
    sts: StsAttributes | None = None


def policy_text(policy: TlsPolicy, *, reporting: bool = False) -> str:
    """The policy as text; `reporting`: with what Postfix 3.10 and later reports. Raises Unwritable."""
    return " ".join((policy.level.value, *_attributes(policy), *(_reported(policy) if reporting else ())))


def _attributes(policy: TlsPolicy) -> Iterator[str]:
    if policy.match:
        separator = "|" if policy.level is TlsLevel.FINGERPRINT else ":"
        yield f"match={separator.join(policy.match)}"
    if policy.servername:
        yield f"servername={policy.servername}"
    if policy.tafile:
        yield _file("tafile", policy.tafile)
    if policy.minimum_version:
        yield f"protocols={_OLDER[policy.minimum_version]}"


def _reported(policy: TlsPolicy) -> Iterator[str]:
    """`policy_type` comes first, or Postfix rejects the others. The lines are written anew from what was parsed."""
    if (sts := policy.sts) is None:
        return
    yield "policy_type=sts"
    yield f"policy_domain={sts.domain}"
    yield from (f"mx_host_pattern={pattern}" for pattern in sts.mx)
    mx = (f"mx: {pattern}" for pattern in sts.mx)
    for line in ("version: STSv1", f"mode: {sts.mode}", *mx, f"max_age: {sts.max_age_seconds}"):
        yield _in_braces("policy_string", line, " = ")


def _file(name: str, path: str) -> str:
    """Braces only around a path that needs them: Postfix before 3.10 knows none, and would defer all mail instead."""
    braced = _in_braces(name, path, "=")
    return braced if any(each in path for each in " ,") else f"{name}={path}"


def _in_braces(name: str, value: str, equals: str) -> str:
    """An attribute whose value may hold blanks. Braces in it would end it early."""
    if not value.isprintable() or not value.isascii() or any(each in value for each in "{}"):
        raise Unwritable(f"{name} cannot be written for Postfix: {value!r}")
    return f"{{ {name}{equals}{value} }}"
