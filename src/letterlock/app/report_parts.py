"""Builds what collects, sends and takes reports, as far as the options ask for it."""

import asyncio
import ipaddress
import logging
import urllib.parse
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

import dns.rdatatype

from letterlock.app.beside import beside
from letterlock.app.binding import StartFailed
from letterlock.config import Options
from letterlock.deliver.session import TakeReport
from letterlock.discover.discoverer import addresses_of
from letterlock.discover.report_addresses import dmarc_addresses, tls_addresses
from letterlock.dkim import signed
from letterlock.mail.addresses import Mailbox
from letterlock.mail.envelope import Envelope, TlsDemand
from letterlock.mail.names import InvalidName, normalise
from letterlock.net.dial import TcpDialer
from letterlock.net.https import HTTPS_PORT, post
from letterlock.net.sources import usual_address_towards
from letterlock.ports import Clock, Resolver
from letterlock.queue.observing import Observer
from letterlock.queue.store import AcceptStore
from letterlock.report.collector import Emitter, ReportCollector, ResultSocket
from letterlock.report.report_desk import ReportDesk
from letterlock.report.report_mail import ReportMail, compose_report_mail
from letterlock.report.report_sender import ReportAuthors, ReportSender, retry_lifetime
from letterlock.resolver.answer import Answer
from letterlock.routing.local_targets import ReportBox
from letterlock.routing.rules import Rules
from letterlock.state.report_store import ReportStore
from letterlock.state.shared_state import SharedState

log = logging.getLogger("letterlock.reports")
MAX_PATH_CHARACTERS = 2_000  # of an https: URI: more than any server takes
RETRIES = 10  # waits of the schedule that are looked at


class Reports:
    """The parts that make reports, for one worker; with everything off there are none."""

    def __init__(self, options: Options, store: ReportStore | None, resolver: Resolver, clock: Clock) -> None:
        wanted = options.reporting
        self._options = options
        self._resolver = resolver
        self._clock = clock
        self.store = store
        self.collector: ReportCollector | None = None
        self._emitter: Emitter | None = None
        if store is None or not wanted.is_on:
            return
        if wanted.emit_socket is not None:
            self._emitter = Emitter(wanted.emit_socket, self._find_tls, self._lost)
        self.collector = ReportCollector(
            store,
            clock,
            is_report_address=lambda mailbox: is_report_address(options.rules, mailbox),
            hand_on=self._emitter.hand_on if self._emitter is not None else None,
            sending_address=lambda towards: (
                options.route_settings.usual.source.towards(towards) or usual_address_towards(towards) or ""
            ),
        )

    @property
    def take_mail(self) -> TakeReport | None:
        """Keeps the report in a message for the report address."""
        return None if self.store is None else ReportDesk(self.store, self._clock).take_mail

    def observers(self) -> Sequence[Observer]:
        """Who looks at sessions and messages; nobody, where nothing is counted."""
        wanted = self._options.reporting
        return (self.collector,) if self.collector is not None and (wanted.counts_tls or wanted.dmarc_send) else ()

    def start(
        self, group: asyncio.TaskGroup, accepts: AcceptStore, new_id: Callable[[], str], wake: Callable[[], None]
    ) -> list[asyncio.Task[None]]:
        """Begin to work. The first worker listens to Postfix and sends."""
        if self.collector is None or self.store is None:
            return []
        tasks = [group.create_task(beside("counting for reports", self.collector.run))]
        if self._emitter is not None:
            tasks.append(group.create_task(self._emitter.run()))
        is_first = self._options.queue_directory == self._options.state_directory
        if is_first and (self._options.reporting.send or self._options.reporting.dmarc_send):
            tasks.append(group.create_task(self._sender(self.store, accepts, new_id, wake).run()))
        return tasks

    async def listen(self, stack: AsyncExitStack) -> None:
        """Open the socket for Postfix, for the first worker. Raises StartFailed."""
        path = self._options.reporting.postfix_socket
        if path is None or self.collector is None or self._options.queue_directory != self._options.state_directory:
            return
        try:
            bound = ResultSocket(path, self.collector)
        except OSError as error:
            hint = "hint: make its directory, writable for the server's user and below Postfix' queue_directory"
            raise StartFailed(f"[tls_reports] postfix_socket {path}: {error.strerror}\n  {hint}") from None
        bound.open()
        stack.callback(bound.close)

    def _lost(self, what: str) -> None:
        if self.collector is not None:
            self.collector.count_lost(what)

    async def _find_tls(self, domain: str) -> Sequence[str] | None:
        return await tls_addresses(self._resolver, domain)

    async def _find_dmarc(self, domain: str) -> Sequence[str] | None:
        return await dmarc_addresses(self._resolver, domain)

    def _sender(
        self, store: ReportStore, accepts: AcceptStore, new_id: Callable[[], str], wake: Callable[[], None]
    ) -> ReportSender:
        async def accept(mail: ReportMail) -> None:
            await self._accept(mail, accepts, new_id())
            wake()

        return ReportSender(
            store,
            self._clock,
            authors(self._options),
            find_tls=self._find_tls,
            find_dmarc=self._find_dmarc,
            accept=accept,
            post=self._post,
        )

    async def _accept(self, mail: ReportMail, accepts: AcceptStore, message_id: str) -> None:
        """Sign a report and queue it. It has the null reverse-path, so nothing ever comes back for it."""
        now = self._clock.now()
        content = await signed(self._options.receive.signer, compose_report_mail(mail, message_id, now), now)
        schedule = self._options.route_settings.usual.schedule
        lifetime = retry_lifetime([schedule.delay(number) for number in range(1, RETRIES)])
        envelope = Envelope(
            id=message_id,
            reverse_path=None,
            recipients=(mail.recipient,),
            size=len(content),
            accepted_at=now,
            expires_at=now + min(lifetime, self._options.receive.expire_seconds),
            tls_demand=TlsDemand.TLS_REQUIRED_NO,
        )
        await accepts.accept(envelope, content, next_attempt_at=now)

    async def _post(self, uri: str, body: bytes, kind: str) -> str | None:
        try:
            parts = urllib.parse.urlsplit(uri)
            host, port = normalise(parts.hostname or ""), parts.port or HTTPS_PORT
        except (ValueError, InvalidName) as error:
            return f"the address cannot be used: {error}"
        path = parts.path or "/"
        target = f"{path}?{parts.query}" if parts.query else path
        if not target.isascii() or not target.isprintable() or " " in target or len(target) > MAX_PATH_CHARACTERS:
            return "the address cannot be used: its path is no path of HTTP"
        addresses = await self._public_addresses(host)
        return await post(host, target, addresses, body, kind, connect=TcpDialer().dial, port=port)

    async def _public_addresses(self, host: str) -> list[str]:
        """Where a host is on the Internet: the publisher of a record must not make us talk to our own network."""
        answers = [await self._resolver.resolve(host, rdtype) for rdtype in (dns.rdatatype.AAAA, dns.rdatatype.A)]
        found = addresses_of([each for each in answers if isinstance(each, Answer)])
        allowed = self._options.loopback_hosts
        return [each for each in found if allowed or ipaddress.ip_address(each).is_global]


def authors(options: Options) -> ReportAuthors:
    """Who reports, by the options."""
    wanted = options.reporting
    tls = wanted.tls_from or Mailbox("tls-reports", options.hostname)
    dmarc = wanted.dmarc_from or Mailbox("dmarc-reports", options.hostname)
    return ReportAuthors(
        tls=tls if wanted.send else None,
        tls_organization=wanted.tls_organization or tls.domain,
        dmarc=dmarc if wanted.dmarc_send else None,
        dmarc_organization=wanted.dmarc_organization or dmarc.domain,
    )


def is_report_address(rules: Rules, mailbox: Mailbox) -> bool:
    """Whether what comes for an address is taken as a report."""
    relay = rules.relay_for(mailbox.domain)
    return relay is not None and isinstance(relay.final, ReportBox)


def takes_reports(options: Options) -> bool:
    """Whether a route leads to the reports."""
    return any(isinstance(relay.final, ReportBox) for relay in options.rules.routes())


def open_reports(options: Options, state: SharedState) -> ReportStore | None:
    """The database, where something needs it. Raises StoreFailed."""
    return state.reports() if options.reporting.is_on or takes_reports(options) else None
