"""The records that authenticate a domain's own mail. Not evidence for a decision: `check` shows it."""

import asyncio
from dataclasses import dataclass

import dns.rdatatype

from letterlock.discover.authentication import answered
from letterlock.mail.names import is_address_literal
from letterlock.mailauth.asking import txt_records
from letterlock.mailauth.dkim.published import published_key
from letterlock.mailauth.dmarc.walk import walk
from letterlock.mailauth.spf.record import InvalidSpfRecord, parse_record, spf_records
from letterlock.ports import Resolver
from letterlock.resolver.answer import Answer, LookupFailure

_TXT = dns.rdatatype.TXT


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """One of SPF, DMARC and DKIM: present, absent, invalid or failed. `detail` holds text from outside.

    `security` is the DNSSEC state of the answer; None when there is none.
    """

    method: str
    state: str
    detail: str
    security: str | None


async def find_announced(resolver: Resolver, domain: str, selectors: tuple[str, ...]) -> tuple[Announced, ...]:
    """SPF, DMARC, and the DKIM keys under these selectors. Nothing for an address literal. Never raises for DNS."""
    if is_address_literal(domain):
        return ()
    names = [domain, *(f"{selector}._domainkey.{domain}" for selector in selectors)]
    lookups = asyncio.gather(*(_look_up(resolver, name) for name in names))
    (own, *keys), dmarc = await asyncio.gather(lookups, _dmarc(resolver, domain))
    found = (_dkim(selector, key) for selector, key in zip(selectors, keys, strict=True))
    return (_spf(own), dmarc, *found)


async def _look_up(resolver: Resolver, name: str) -> Answer | LookupFailure | None:
    """None: no query can have that name."""
    try:
        return await resolver.resolve(name, _TXT)
    except ValueError:  # the name is too long for DNS: nothing is announced there
        return None


def _spf(answer: Answer | LookupFailure | None) -> Announced:
    if not isinstance(answer, Answer):
        return Announced(method="SPF", state="failed", detail=answer.detail if answer else "not a name", security=None)
    texts, security = spf_records(txt_records(answer)), answer.security.value
    if not texts:
        return Announced(method="SPF", state="absent", detail="", security=security)
    shown = texts[0].decode("latin-1")
    try:
        parse_record(texts[0])
        wrong = f"{len(texts)} records, where one may be" if len(texts) > 1 else ""
    except InvalidSpfRecord as error:
        wrong = str(error)
    return Announced(method="SPF", state="invalid" if wrong else "present", detail=wrong or shown, security=security)


async def _dmarc(resolver: Resolver, domain: str) -> Announced:
    found = await answered(walk(domain), resolver)
    states = [each.security.value for each in found.asked if each.security]
    security = states[0] if states else None
    if found.policy is None:
        state = "failed" if found.failure else "invalid" if found.oddities else "absent"
        detail = found.failure.detail if found.failure else "; ".join(found.oddities)
        return Announced(method="DMARC", state=state, detail=detail, security=security)
    where, record = found.policy
    policy = record.policy if where == domain else record.subdomain_policy or record.policy
    words = [f"p={policy.value}", *(["t=y"] if record.testing else []), *([f"from {where}"] if where != domain else [])]
    detail = "; ".join((", ".join(words), *record.oddities))
    return Announced(method="DMARC", state="present" if record.applies else "invalid", detail=detail, security=security)


def _dkim(selector: str, answer: Answer | LookupFailure | None) -> Announced:
    method = f"DKIM {selector}"
    if answer is None:
        return Announced(method=method, state="invalid", detail="not a name", security=None)
    if isinstance(answer, LookupFailure):
        return Announced(method=method, state="failed", detail=answer.detail, security=None)
    key, security = published_key(answer), answer.security.value
    state = "present" if key.key else "absent" if answer.absence else "invalid"
    return Announced(method=method, state=state, detail="" if state == "absent" else str(key), security=security)
