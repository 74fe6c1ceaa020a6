"""Signs outgoing mail with DKIM (RFC 6376), once, before it is queued."""

import asyncio
import logging

from letterlock.mailauth.dkim.sign import Signer
from letterlock.mailauth.message import OversizedHeader
from letterlock.receive.pipeline import Draft, Facts

# Hashing so much takes about a millisecond. More is hashed in a thread, so that other sessions do not wait for it.
MAX_OCTETS_AT_ONCE = 1 << 18
log = logging.getLogger("letterlock.receive")


class SignDkim:
    """Signs mail of clients that may relay, for the domain in From. What comes from elsewhere is not ours to sign.

    Mail without a key for its domain, or with several domains in From, stays unsigned.
    """

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    async def message(self, facts: Facts, draft: Draft) -> None:
        """Put the signatures on top of the message."""
        if not facts.may_relay:
            return
        try:
            if draft.octets <= MAX_OCTETS_AT_ONCE:
                signatures = self._signatures(draft)
            else:
                signatures = await asyncio.to_thread(self._signatures, draft)
        except OversizedHeader as error:
            log.warning("%s: not signed with DKIM: %s", draft.id, error)
            return
        draft.add_field(signatures)

    def _signatures(self, draft: Draft) -> bytes:
        """The DKIM-Signature fields, over the fields that steps added as well. Raises OversizedHeader."""
        return self._signer.sign(draft.parsed(added=True), draft.received_at)
