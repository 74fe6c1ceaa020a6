"""Which steps a listener runs. This list is the order of the pipeline; each step is in a module of its own."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from letterlock.accounts.backend import Accounts
from letterlock.accounts.file_store import FileStore
from letterlock.accounts.stored import StoredAccounts
from letterlock.ports import Clock, Rates, Resolver
from letterlock.queue.observing import NOBODY, Observers
from letterlock.receive.ask_milter import AskMilter
from letterlock.receive.ask_policy import AskPolicy
from letterlock.receive.auth import LookUpOwnSender, RequireLogin, RequireOwnSender
from letterlock.receive.authenticate_mail import AuthenticateMail, JudgeMail, RemoveForgedResults
from letterlock.receive.check_dns_lists import CheckDnsLists
from letterlock.receive.filter_counts import FilterCounts
from letterlock.receive.header_duties import CompleteHeader
from letterlock.receive.limits import MemoryBudget, RequireRoom
from letterlock.receive.local_recipients import CheckRecipients, ExpandRecipients
from letterlock.receive.options import ReceiveOptions
from letterlock.receive.pipeline import Step
from letterlock.receive.profiles import SUBMITS, Profile, Role
from letterlock.receive.rate_limits import LimitRates
from letterlock.receive.recipient_rules import FollowRules
from letterlock.receive.relay import LookUpDomains, RefuseRelaying
from letterlock.receive.seal_arc import SealArc
from letterlock.receive.sign_dkim import SignDkim
from letterlock.receive.tls_steps import HeedTlsRequiredNo, RequireTls
from letterlock.receive.trace import AddReceived
from letterlock.recipients.directory import RecipientTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What steps need besides options: what all listeners share, and the world outside.

    `judge` None: nobody authenticates mail from elsewhere. `rates`, `resolver` None: no such limits, no DNS lists.
    """

    memory: MemoryBudget
    has_room_on_disk: Callable[[int], bool]
    clock: Clock
    judge: JudgeMail | None = None
    observers: Observers = NOBODY
    rates: Callable[[], Rates] | None = None
    resolver: Resolver | None = None
    filters: FilterCounts = field(default_factory=FilterCounts)


def steps_of(profile: Profile, options: ReceiveOptions, around: Surroundings) -> Iterator[Step]:
    """The steps of a listener, in the order in which they run."""
    if profile.requires_tls and not profile.implicit_tls:
        yield RequireTls()
    if profile.role in SUBMITS and options.accounts is not None:
        yield RequireLogin()
        yield _own_sender(options.accounts, options.sender_tables)
    if options.rate_limits and around.rates is not None:
        yield LimitRates(options.rate_limits, around.rates(), around.clock.monotonic)
    yield RequireRoom(around.memory, around.has_room_on_disk)
    if profile.domain_tables:
        yield LookUpDomains(profile.domains, profile.domain_tables)
    yield _admission(profile, options)
    if options.dns_lists and profile.role is Role.MX and around.resolver is not None:
        yield CheckDnsLists(options.dns_lists, around.resolver)
    yield from recipient_steps(options, around.clock.now)
    for service in profile.policies:
        yield AskPolicy(service, around.filters)
    yield from message_steps(profile, options, around.judge, around.observers, around.filters)


def _own_sender(accounts: Accounts, tables: Sequence[RecipientTable]) -> Step:
    """Which addresses a user may send as; a file of users is asked without waiting."""
    if isinstance(accounts, StoredAccounts) and isinstance(accounts.store, FileStore) and not tables:
        return RequireOwnSender(accounts.store)
    return LookUpOwnSender(accounts, tables)


def _admission(profile: Profile, options: ReceiveOptions) -> Step:
    """Who may send where: the rules, if there are any, and what the listener says."""
    usual = RefuseRelaying(profile.domains)
    return FollowRules(options.recipient_rules, profile.role, usual) if options.recipient_rules else usual


def local_recipient_steps(options: ReceiveOptions, now: Callable[[], float]) -> Iterator[Step]:
    """The same for what local users leave in the drop directory: they count as clients of a relay on this machine."""
    if options.recipient_rules:
        yield FollowRules(options.recipient_rules, Role.RELAY, None)
    yield from recipient_steps(options, now)


def recipient_steps(options: ReceiveOptions, now: Callable[[], float]) -> Iterator[Step]:
    """The steps that decide on recipients of ours."""
    if options.site is not None:
        yield CheckRecipients(options.site, now)


def message_steps(
    profile: Profile,
    options: ReceiveOptions,
    judge: JudgeMail | None = None,
    observers: Observers = NOBODY,
    filters: FilterCounts | None = None,
) -> Iterator[Step]:
    """The steps that decide on messages; they also run for what local users leave in the drop directory.

    A new step goes where what it needs is there. Our Authentication-Results stand above our Received field, as in RFC
    8601 appendix B: so it is known that they were not there when the message came. Signatures and seals come after
    them. Aliases come last: until then recipients are as the client wrote them.
    """
    if profile.tls_required_no_networks != ():  # an empty list: the header counts from nobody
        yield HeedTlsRequiredNo(profile.tls_required_no_networks)
    if profile.role in SUBMITS:
        yield CompleteHeader(options.hostname)
    own_id = options.mail_authentication.authserv_id or options.hostname
    if profile.role in SUBMITS:
        yield RemoveForgedResults(own_id, options.hostname)
    yield AddReceived(options.hostname)
    if profile.authenticates and judge is not None:
        yield AuthenticateMail(judge, options.hostname, options.mail_authentication, observers)
    for milter in profile.milters:
        yield AskMilter(milter, options.hostname, options.max_message_octets, filters)
    if options.signer is not None and profile.relays:
        yield SignDkim(options.signer)
    if (
        profile.seals_as is not None
        and options.signer is not None
        and (keys := options.signer.keys_for(profile.seals_as))
    ):
        yield SealArc(keys, own_id)
    if options.site is not None:
        yield ExpandRecipients(options.site)
