"""Recipients of local domains: unknown ones are refused at RCPT, and aliases become the addresses they stand for."""

import logging
import re
from collections.abc import Callable

from letterlock.mail.addresses import Mailbox
from letterlock.mail.replies import Reply
from letterlock.receive.pipeline import Copy, Draft, Facts
from letterlock.recipients.directory import TableFailed
from letterlock.recipients.site import LocalSite, RecipientGroup
from letterlock.smtp.server_events import RecipientOffered

TABLE_FAILED = Reply(451, ("4.3.0 Recipients cannot be looked up now, try again later",))
LOOPS = Reply(554, ("5.4.6 Forwarding loop: this message has been here before",))
MAX_HEADER_OCTETS = 1 << 18  # where Delivered-To is looked for: a header section with a hundred hops has 30 KB
log = logging.getLogger("letterlock.receive")


class CheckRecipients:
    """Refuses recipients of local domains that are neither alias nor mailbox, and what an alias says to refuse."""

    def __init__(self, site: LocalSite, now: Callable[[], float]) -> None:
        self._site = site
        self._now = now

    async def recipient(self, _facts: Facts, offer: RecipientOffered) -> Reply | None:
        """550 for an unknown recipient; 451 where that cannot be found out: never 550 for a failure of ours."""
        if offer.postmaster:  # RFC 5321 section 4.5.1: it exists, whatever the tables say
            return None
        try:
            refused = await self._site.refusal(offer.recipient, self._now())
        except TableFailed as error:
            log.warning("<%s> cannot be looked up: %s", offer.recipient, error)
            return TABLE_FAILED
        return None if refused is None else Reply(refused.code, (f"{refused.status} {refused.text}",))


class ExpandRecipients:
    """Replaces aliases by the addresses they stand for.

    Addresses that need another reverse-path (lists with an owner, forwarding with SRS) become copies of the message.
    """

    def __init__(self, site: LocalSite) -> None:
        self._site = site

    async def message(self, _facts: Facts, draft: Draft) -> Reply | None:
        """Change the draft's recipients; 554 for a message that its own forwarding brought back."""
        try:
            groups = await self._site.groups(draft.reverse_path, draft.recipients, draft.wishes, draft.received_at)
        except TableFailed as error:
            log.warning("%s: recipients cannot be looked up: %s", draft.id, error)
            return TABLE_FAILED
        if any(each.forwarded_for is not None and _was_here(each.forwarded_for, draft) for each in groups):
            return LOOPS
        if not groups:
            draft.recipients = ()
            return None
        first, *others = groups
        draft.copies = tuple(Copy(each.reverse_path, each.recipients, each.wishes, _fields(each)) for each in others)
        draft.reverse_path, draft.recipients, draft.wishes = first.reverse_path, first.recipients, first.wishes
        draft.own_fields = _fields(first)
        return None


def _fields(group: RecipientGroup) -> bytes:
    return b"" if group.forwarded_for is None else f"Delivered-To: {group.forwarded_for}\r\n".encode()


def _was_here(address: Mailbox, draft: Draft) -> bool:
    """Whether the header section has a Delivered-To field with this address (RFC 9228)."""
    content = draft.content
    end = content.find(b"\r\n\r\n", 0, MAX_HEADER_OCTETS)
    header = b"\r\n" + content[: end if end >= 0 else MAX_HEADER_OCTETS].lower() + b"\r\n"
    field = rb"\r\ndelivered-to[ \t]*:[ \t]*" + re.escape(str(address).lower().encode()) + rb"[ \t]*\r\n"
    return re.search(field, header) is not None
