"""Seals mail that goes on to other servers with ARC (RFC 8617): the seal carries the results of this one."""

import asyncio
import logging
from collections.abc import Sequence

from letterlock.mailauth.arc.seal import seal
from letterlock.mailauth.dkim.signature import Algorithm
from letterlock.mailauth.dkim.signing_key import SigningKey
from letterlock.mailauth.mail_verdict import MailVerdict
from letterlock.mailauth.message import OversizedHeader
from letterlock.mailauth.results import render
from letterlock.receive.pipeline import Draft, Facts
from letterlock.receive.sign_dkim import MAX_OCTETS_AT_ONCE

log = logging.getLogger("letterlock.receive")


class SealArc:
    """Adds an ARC set to mail that was authenticated. Comes last: what changes after it breaks the seal.

    A chain that could not be checked, because a lookup failed, stays as it is: a seal would record a failure for good
    (RFC 8617 section 5.2.1), and the next server can look again.
    """

    def __init__(self, keys: Sequence[SigningKey], authserv_id: str) -> None:
        """Of several keys an RSA key is used: nobody else's verifier of ARC is known to read Ed25519."""
        self._key = next((each for each in keys if each.algorithm is Algorithm.RSA_SHA256), keys[0])
        self._authserv_id = authserv_id

    async def message(self, _facts: Facts, draft: Draft) -> None:
        """Put the three fields on top of the message."""
        verdict = draft.verdict
        if verdict is None or verdict.arc.temporary:  # mail of our own users, or see above
            return
        try:
            if draft.octets <= MAX_OCTETS_AT_ONCE:
                fields = self._fields(draft, verdict)
            else:
                fields = await asyncio.to_thread(self._fields, draft, verdict)
        except OversizedHeader as error:
            log.warning("%s: not sealed with ARC: %s", draft.id, error)
            return
        draft.add_field(fields)

    def _fields(self, draft: Draft, verdict: MailVerdict) -> bytes:
        results = render(verdict.results(self._authserv_id)).partition(b":")[2]
        return seal(draft.parsed(added=True), verdict.arc, results, self._key, draft.received_at)
