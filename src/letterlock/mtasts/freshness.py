"""The memory of policies, as pure functions: what to do next, and what follows (RFC 8461 sections 3.3, 5.1, 10.2).

`next_step` takes what is remembered and what the TXT lookup said; it concludes, or asks for a fetch. `after_fetch`
takes how the fetch ended, and concludes. A Conclusion is the evidence, and what to remember from now on.
"""

from dataclasses import dataclass, replace

from letterlock.frozen import frozen_dataclass
from letterlock.mtasts.fetching import Fetched, FetchFailed, FetchFailure
from letterlock.mtasts.policy import InvalidPolicy, Mode, StsPolicy, parse_policy
from letterlock.mtasts.record import InvalidSTSRecord, NoSTSRecord, StsRecord, TxtFailed, TxtResult
from letterlock.mtasts.sts_evidence import Absent, Known, PolicyTrouble, PolicyUnavailable, StsEvidence

RETRY_SECONDS = 300.0  # RFC 8461 section 3.3: five minutes or longer after a failed fetch
REFRESH_SECONDS = 86_400.0  # RFC 8461 section 3.3 suggests one refresh per day
REFRESH_RETRY_SECONDS = 3_600.0  # chosen: several tries before a policy expires, and little load on a host that is down
MAX_CHANGES = 20  # chosen: enough for an operator to see what a domain did; bounds the row


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change of a policy. `old_mode` and `old_id` are None for the first one that was seen.

    When old and new are alike, it was the MX patterns that changed, under the same id.
    """

    at: float
    old_mode: Mode | None
    old_id: str | None
    new_mode: Mode
    new_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPolicy:
    """A policy as it is remembered. Times are seconds since 1970.

    `refresh_at`: fetch it again from then on, before `expires_at`. `last_failure` is what the last fetch failed with,
    None after a good one; `https_blocked_since` and `txt_blocked_since` are when the failing fetches, and the missing,
    invalid or failing TXT lookups, began. `history` holds the last MAX_CHANGES changes, oldest first.
    """

    domain: str
    id: str
    policy: StsPolicy
    fetched_at: float
    expires_at: float
    refresh_at: float
    last_failure: str | None = None
    https_blocked_since: float | None = None
    txt_blocked_since: float | None = None
    history: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PastFailure:
    """When a fetch for this domain last failed, and with what: for RETRY_SECONDS there is no other."""

    at: float
    failure: FetchFailed


@frozen_dataclass(frozen=True, slots=True)
class Conclusion:
    """The evidence, what to remember of the domain from now on (None: nothing), and what the fetch failed with."""

    evidence: StsEvidence
    remember: KnownPolicy | None
    failure: FetchFailed | None = None


@dataclass(frozen=True, slots=True)
class Fetch:
    """Fetch the policy, to be known under `id`. `known` is remembered; `sign` and `detail`: the TXT's trouble."""

    domain: str
    id: str
    known: KnownPolicy | None
    sign: PolicyTrouble | None = None
    detail: str | None = None


def next_step(
    domain: str, known: KnownPolicy | None, past: PastFailure | None, txt: TxtResult, now: float
) -> Conclusion | Fetch:
    """Conclude, or say what to fetch.

    A new id is fetched at once, the same id when its refresh is due, with or without a TXT record (section 10.2); but
    not within RETRY_SECONDS of a fetch that failed (section 3.3).
    """
    if not isinstance(txt, StsRecord):
        return _without_record(domain, known, past, txt, now)
    if known is not None:
        known = replace(known, txt_blocked_since=None)
        if known.id == txt.id and now < min(known.refresh_at, known.expires_at):
            return Conclusion(_use(known, *_old_trouble(known)), known)
    return _fetch_unless_waiting(Fetch(domain, txt.id, known), past, now)


def after_fetch(step: Fetch, outcome: Fetched | FetchFailed, now: float, fraction: float) -> Conclusion:
    """The conclusion from a fetch that ended `now`. `fraction`, 0 to 1 by chance, spreads the next refresh."""
    if isinstance(outcome, Fetched):
        policy = parse_policy(outcome.body)
        if isinstance(policy, StsPolicy):
            return _adopt(step, policy, now, fraction)
        outcome = _not_a_policy(policy)
    known = step.known
    if known is not None and now < known.expires_at:
        # a quarter: several more tries before it ends
        pause = max(RETRY_SECONDS, min(REFRESH_RETRY_SECONDS, (known.expires_at - now) / 4))
        known = replace(
            known,
            refresh_at=now + pause * (1 + fraction / 2),
            last_failure=outcome.detail,
            https_blocked_since=known.https_blocked_since or now,
        )
    return replace(_fall_back(replace(step, known=known), outcome, now), failure=outcome)


def _without_record(
    domain: str,
    known: KnownPolicy | None,
    past: PastFailure | None,
    txt: NoSTSRecord | InvalidSTSRecord | TxtFailed,
    now: float,
) -> Conclusion | Fetch:
    """No live record: what is remembered holds until it expires (section 3.1), and is refreshed all the same."""
    withdrawn = known is not None and known.policy.mode is Mode.NONE and isinstance(txt, NoSTSRecord)
    if known is None or known.expires_at <= now or withdrawn:
        if isinstance(txt, TxtFailed):
            return Conclusion(PolicyUnavailable(txt.detail), known)
        return Conclusion(Absent(_fault(txt)), None)
    known = replace(known, txt_blocked_since=known.txt_blocked_since or now)
    sign, detail = _txt_trouble(txt)
    if now < known.refresh_at:
        return Conclusion(_use(known, sign, detail), known)
    return _fetch_unless_waiting(Fetch(domain, known.id, known, sign, detail), past, now)


def _fetch_unless_waiting(step: Fetch, past: PastFailure | None, now: float) -> Conclusion | Fetch:
    if past is not None and 0 <= now - past.at < RETRY_SECONDS:
        return _fall_back(step, past.failure, now)
    return step


def _fall_back(step: Fetch, failure: FetchFailed, now: float) -> Conclusion:
    """There is no fresh policy: the remembered one holds, if there is one (section 3.3)."""
    known = step.known
    if known is None or known.expires_at <= now:
        return Conclusion(PolicyUnavailable(failure.detail, failure.kind), known)
    updating = known.id != step.id
    sign = step.sign or (PolicyTrouble.UPDATE_FAILED if updating else PolicyTrouble.REFRESH_FAILED)
    what = f"the policy with the new id {step.id} cannot be fetched" if updating else "the policy cannot be refreshed"
    parts = [part for part in (step.detail, f"{what}: {failure.detail}") if part]
    return Conclusion(_use(known, sign, "; ".join(parts)), known)


def _adopt(step: Fetch, policy: StsPolicy, now: float, fraction: float) -> Conclusion:
    """The fetched policy replaces whatever was remembered (section 5.1), but for the history."""
    before = step.known
    if policy.mode is Mode.NONE and step.sign is PolicyTrouble.TXT_MISSING:
        return Conclusion(Absent(), None)  # withdrawn by the book (section 8.3)
    pause = min(policy.max_age_seconds / 2, REFRESH_SECONDS)
    known = KnownPolicy(
        domain=step.domain,
        id=step.id,
        policy=policy,
        fetched_at=now,
        expires_at=now + policy.max_age_seconds,
        refresh_at=now + pause * (1 + fraction / 2),
        txt_blocked_since=before.txt_blocked_since if before else None,
        history=_history(before, step.id, policy, now),
    )
    return Conclusion(_use(known, step.sign, step.detail, from_cache=False), known)


def _history(before: KnownPolicy | None, new_id: str, new: StsPolicy, now: float) -> tuple[Change, ...]:
    if before is None:
        return (Change(at=now, old_mode=None, old_id=None, new_mode=new.mode, new_id=new_id),)
    old = before.policy
    if (before.id, old.mode, old.mx) == (new_id, new.mode, new.mx):
        return before.history
    change = Change(at=now, old_mode=old.mode, old_id=before.id, new_mode=new.mode, new_id=new_id)
    return (*before.history, change)[-MAX_CHANGES:]


def _use(known: KnownPolicy, sign: PolicyTrouble | None, detail: str | None, *, from_cache: bool = True) -> Known:
    txt = sign in {PolicyTrouble.TXT_MISSING, PolicyTrouble.TXT_INVALID, PolicyTrouble.TXT_FAILED}
    return Known(
        policy=known.policy,
        id=known.id,
        fetched_at=known.fetched_at,
        expires_at=known.expires_at,
        from_cache=from_cache,
        trouble=detail,
        suspicious=sign is not None and known.policy.mode is not Mode.NONE,
        sign=sign,
        since=(known.txt_blocked_since if txt else known.https_blocked_since) if sign else None,
    )


def _old_trouble(known: KnownPolicy) -> tuple[PolicyTrouble | None, str | None]:
    """The failure of the last refresh, while no other one is due."""
    if known.last_failure is None:
        return None, None
    return PolicyTrouble.REFRESH_FAILED, f"the policy cannot be refreshed: {known.last_failure}"


def _txt_trouble(txt: NoSTSRecord | InvalidSTSRecord | TxtFailed) -> tuple[PolicyTrouble, str]:
    match txt:
        case NoSTSRecord():
            gone = "the TXT record has gone, though the policy was not withdrawn"
            return PolicyTrouble.TXT_MISSING, "; ".join(filter(None, (gone, _fault(txt))))
        case InvalidSTSRecord(detail):
            return PolicyTrouble.TXT_INVALID, detail
        case TxtFailed(detail):
            return PolicyTrouble.TXT_FAILED, detail


def _fault(txt: NoSTSRecord | InvalidSTSRecord) -> str | None:
    """What is wrong with a record that does not count; None where there is none."""
    if isinstance(txt, InvalidSTSRecord):
        return txt.detail
    return str(txt.nearly) if txt.nearly is not None else None


def _not_a_policy(policy: InvalidPolicy) -> FetchFailed:
    return FetchFailed(FetchFailure.INVALID, f"what was fetched is no policy: {policy.detail}")
