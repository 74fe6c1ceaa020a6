"""The recipients of a site: whether somebody exists, and to whom a message goes in the end. Pure over its tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from letterlock.mail.addresses import Mailbox
from letterlock.mail.wishes import NO_WISHES, Event, RecipientWishes, Ret, Wishes
from letterlock.recipients.directory import POSTMASTER, Directory, ExpandedAddress, Expansion
from letterlock.recipients.srs import NotOurs, Srs
from letterlock.recipients.targets import RefusalEntry

UNKNOWN = RefusalEntry("No such user here", 550, "5.1.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientGroup:
    """Recipients of a message that get it with the same reverse-path.

    `forwarded_for`: the address of ours whose mail leaves for other servers; its copy says so in Delivered-To (RFC
    9228), by which a loop is noticed.
    """

    reverse_path: Mailbox | None
    recipients: tuple[Mailbox, ...]
    wishes: Wishes = NO_WISHES
    forwarded_for: Mailbox | None = None


@dataclass(slots=True)
class _Growing:
    """A group that is being filled."""

    recipients: dict[Mailbox, RecipientWishes] = field(default_factory=dict)
    keeps_wishes: bool = True


_Key = tuple[Mailbox | None, Mailbox | None]


class LocalSite:
    """Local domains with their recipients, and the rewriting of forwarded senders; `srs` None: none is rewritten."""

    def __init__(self, directory: Directory, srs: Srs | None = None) -> None:
        self.directory = directory
        self.srs = srs

    async def refusal(self, recipient: Mailbox, now: float) -> RefusalEntry | None:
        """Why a recipient is refused; None: it exists, or is elsewhere. Raises TableFailed."""
        if self.srs is not None and self.srs.is_ours(recipient):
            try:
                self.srs.reverse(recipient, now)
            except NotOurs as error:
                return RefusalEntry(f"This return address cannot be used: {error}", 550, "5.1.1")
            return None
        if not await self.directory.has(recipient.domain):
            return None
        if await self.directory.names_ending(recipient):  # only we address a command, never a client
            return UNKNOWN
        found = await self.directory.expand(recipient)
        if found.refused is not None:
            return found.refused
        if found.known or recipient.local_part.lower() == POSTMASTER:
            return None
        return UNKNOWN

    async def groups(
        self, reverse_path: Mailbox | None, recipients: Sequence[Mailbox], wishes: Wishes, now: float
    ) -> tuple[RecipientGroup, ...]:
        """To whom a message goes, by reverse-path; nobody when all of it is discarded. Raises TableFailed.

        A recipient that was refused at RCPT does not come here; one whose entry has gone since stays as it is.
        """
        made: dict[_Key, _Growing] = {}
        for recipient in recipients:
            wish = wishes.of(recipient)
            if self.srs is not None and self.srs.is_ours(recipient):
                _add(made, (reverse_path, None), self._original(recipient, now), wish)
            elif not await self.directory.has(recipient.domain):
                _add(made, (reverse_path, None), recipient, wish)
            else:
                found = await self.directory.expand(recipient)
                await self._add_members(made, reverse_path, recipient, wish, found, now)
        return tuple(_group(key, each, wishes.ret, wishes.envid) for key, each in made.items() if each.recipients)

    async def addresses(self, recipient: Mailbox, now: float) -> tuple[Mailbox, ...]:
        """To whom a notification of ours goes. Raises TableFailed."""
        groups = await self.groups(None, (recipient,), NO_WISHES, now)
        return tuple(dict.fromkeys(each for group in groups for each in group.recipients))

    def _original(self, recipient: Mailbox, now: float) -> Mailbox:
        """What an SRS address stands for; one that cannot be reversed stays, and the next hop refuses it."""
        try:
            return recipient if self.srs is None else self.srs.reverse(recipient, now)
        except NotOurs:  # a forged or an old one
            return recipient

    async def _add_members(
        self,
        made: dict[_Key, _Growing],
        reverse_path: Mailbox | None,
        recipient: Mailbox,
        wish: RecipientWishes,
        found: Expansion,
        now: float,
    ) -> None:
        members = found.members or ([] if found.known else [ExpandedAddress(recipient)])
        for number, member in enumerate(members):
            key = await self._key(reverse_path, member, now)
            # A list is the end of the way for the sender's wishes (RFC 3461 section 5.2.7.4).
            _add(made, key, member.address, _wish(wish, number, len(members)), keeps=member.owner is None)

    async def _key(self, reverse_path: Mailbox | None, member: ExpandedAddress, now: float) -> _Key:
        leaves = bool(member.through) and not await self.directory.has(member.address.domain)
        if not leaves:
            return self._bounces_to(reverse_path, member), None
        sender = self._bounces_to(reverse_path, member)
        if sender is not None and self.srs is not None and not await self._is_ours(sender):
            sender = self.srs.forward(sender, now) or sender
        return sender, member.through[-1]

    def _bounces_to(self, reverse_path: Mailbox | None, member: ExpandedAddress) -> Mailbox | None:
        """The owner of a list gets its bounces; a notification, which has no reverse-path, gets none."""
        return reverse_path if member.owner is None or reverse_path is None else member.owner

    async def _is_ours(self, sender: Mailbox) -> bool:
        if self.srs is not None and sender.domain == self.srs.domain:
            return True
        return await self.directory.has(sender.domain)


def _add(
    made: dict[_Key, _Growing], key: _Key, recipient: Mailbox, wish: RecipientWishes, *, keeps: bool = True
) -> None:
    group = made.setdefault(key, _Growing())
    group.recipients.setdefault(recipient, wish)
    group.keeps_wishes = group.keeps_wishes and keeps


def _wish(wish: RecipientWishes, number: int, count: int) -> RecipientWishes:
    """What is wished for one of several addresses that one recipient became (RFC 3461 section 5.2.7.3).

    Notice of success goes to one address only, so that one message gives one notice.
    """
    if count == 1 or number == 0 or wish.notify is None or Event.SUCCESS not in wish.notify:
        return wish
    return replace(wish, notify=wish.notify - {Event.SUCCESS} or None)


def _group(key: _Key, group: _Growing, ret: Ret | None, envid: str | None) -> RecipientGroup:
    reverse_path, forwarded_for = key
    wished: Mapping[Mailbox, RecipientWishes] = {}
    if group.keeps_wishes:
        wished = {address: wish for address, wish in group.recipients.items() if wish.notify is not None or wish.orcpt}
        wishes = Wishes(ret, envid, wished)
    else:
        wishes = NO_WISHES
    return RecipientGroup(
        reverse_path=reverse_path,
        recipients=tuple(group.recipients),
        wishes=wishes,
        forwarded_for=forwarded_for,
    )
