"""Why an attempt's mail was not delivered, in few words: what metrics and statistics count by."""

from letterlock.policy.codes import Code
from letterlock.policy.reasons import FINDINGS, Finding
from letterlock.queue.tasks import Attempt, RecipientOutcome

NEVER_REFUSING = frozenset(code.value for code in Code if FINDINGS[code] is Finding.ROUTED)
"""Codes that only say which way the operator chose."""
SUBJECTS = tuple("01234567")  # RFC 3463 section 3
OTHER_STATUS = "other"


def refusing_code(attempt: Attempt, outcome: RecipientOutcome) -> Code | None:
    """The reason for which the policy let a recipient have nothing; None where a server or the network decided."""
    if attempt.achieved is None and outcome.remote_reply is None:
        for reason in attempt.reasons:
            if FINDINGS[reason.code] is not Finding.ROUTED:
                return reason.code
    return None


def status_subject(status: str) -> str:
    """Class and subject of an enhanced status code, such as `4.4`; a server may send any digits."""
    return status[:3] if status[:2] in ("4.", "5.") and status[2:3] in SUBJECTS and status[3:4] == "." else OTHER_STATUS
