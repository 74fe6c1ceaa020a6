"""What a mail server does with a DMARC verdict: the operator's choice, as data (RFC 9989 section 5.4)."""

from dataclasses import dataclass
from enum import StrEnum

from letterlock.mailauth.dmarc.evaluate import DmarcVerdict
from letterlock.mailauth.dmarc.reasons import DmarcResult
from letterlock.mailauth.dmarc.record import Policy


class Action(StrEnum):
    """What happens to the message."""

    ACCEPT = "accept"
    QUARANTINE = "quarantine"
    REJECT = "reject"
    DEFER = "defer"


class Override(StrEnum):
    """Why a message was not treated as the domain wants, for aggregate reports (RFC 9990 section 3.1.1)."""

    POLICY_TEST_MODE = "policy_test_mode"
    LOCAL_POLICY = "local_policy"
    TRUSTED_FORWARDER = "trusted_forwarder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """An action for each policy of a failing message, and for each case without a result.

    The default follows the domain. `temperror` accepts, as the standard's "fail open": a lookup that an attacker can
    break must not stop all mail. `permerror` is for messages without exactly one author.
    """

    quarantine: Action = Action.QUARANTINE
    reject: Action = Action.REJECT
    temperror: Action = Action.ACCEPT
    permerror: Action = Action.ACCEPT


FOLLOW = Choice()
"""Does what the author's domain wants."""

OBSERVE = Choice(quarantine=Action.ACCEPT, reject=Action.ACCEPT)
"""Checks and reports, and changes nothing."""


@dataclass(frozen=True, slots=True)
class Disposition:
    """What to do, and the reason to report where that is not what the domain wants."""

    action: Action
    override: Override | None = None


def disposition(verdict: DmarcVerdict, choice: Choice) -> Disposition:
    """The action for a verdict. A policy of none never changes anything (section 5.4)."""
    match verdict.result:
        case DmarcResult.TEMPERROR:
            return Disposition(choice.temperror)
        case DmarcResult.PERMERROR:
            return Disposition(choice.permerror)
        case DmarcResult.PASS | DmarcResult.NONE:
            return Disposition(Action.ACCEPT)
    wanted = {Policy.NONE: Action.ACCEPT, Policy.QUARANTINE: choice.quarantine, Policy.REJECT: choice.reject}
    action = wanted[verdict.policy]
    if action is not _AS_WANTED[verdict.policy]:
        return Disposition(action, Override.LOCAL_POLICY)
    return Disposition(action, Override.POLICY_TEST_MODE if verdict.policy is not verdict.published else None)


_AS_WANTED = {Policy.NONE: Action.ACCEPT, Policy.QUARANTINE: Action.QUARANTINE, Policy.REJECT: Action.REJECT}
