"""The server under test: the real `serve` code, with a configuration that any operator could have written."""

import asyncio
import email.policy
import json
import smtplib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from email.message import EmailMessage
from enum import StrEnum
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from letterlock.app import server as app
from letterlock.app.resolving import discovering, validated_dns
from letterlock.config import Options, load
from letterlock.identity.keys_shown import key_of
from letterlock.lab.arsenal import ARSENAL
from letterlock.lab.authority import DAY
from letterlock.lab.box import Box, write_credential
from letterlock.lab.issuing import accept_any_context, make_self_signed
from letterlock.lab.scenarios import SiteProtection
from letterlock.lab.world import LIMBO, ROUTED, WITH_STS
from letterlock.memory.learning import Sighting, VerifiedKey
from letterlock.policy.decision import Level
from letterlock.queue import journal
from letterlock.queue.observing import Watcher
from letterlock.queue.tasks import Attempt, DeliveryTask
from letterlock.routing.routes import NextHop
from letterlock.state.shared_state import open_state

HOSTNAME = "letterlock.test"
SENDER = f"sender@{HOSTNAME}"
DNS_SECONDS = 10.0  # chosen: enough on a machine that is busy with much else; one attack is never to answer
SMTP_SECONDS = 20.0  # chosen: a guard; everything is on this machine
REMEMBERED = tuple(each for each in SiteProtection if each in WITH_STS and each is not SiteProtection.STS_FIRST)
IMPLICIT_SECONDS = 5.0  # chosen: a port that never answers costs a cell that, and an honest one answers at once
_IMPLICIT = "implicit_tls = true\n"
DELIVERED_DAYS_AGO = (21, 16, 11, 6, 1)  # chosen: on more days, and over longer, than a memory needs to count
POLL_SECONDS = 0.02  # chosen: short beside the second that a trial takes


def write_config(box: Box, listen: str) -> Path:
    """The configuration of the server under test: the box's DNS and anchor, and one rule a domain that has one."""
    directory = box.directory
    (directory / "queue").mkdir(mode=0o700)
    certificate, key = write_credential(make_self_signed(HOSTNAME), directory)
    rules = "".join(_rule(box, protection) for protection in SiteProtection)
    config = directory / "letterlock.toml"
    config.write_text(f"""\
# Written by `letterlock lab`. Everything in it lives on loopback and ends with the lab.
hostname = {_quoted(HOSTNAME)}

[smtp]
listen = [{_quoted(listen)}]
certificate = {_quoted(certificate)}
key = {_quoted(key)}

[queue]
directory = {_quoted(directory / "queue")}

[resolver]
upstream = [{_quoted(box.resolver)}]
anchors = [{_quoted(box.anchor_file)}]
timeout_seconds = {DNS_SECONDS}

[delivery]
loopback_hosts = true
port = {box.berths.port}
mta_sts_port = {box.berths.port}
public_roots = {_quoted(box.authority_file)}
{_IMPLICIT if _tries_implicit(box) else ""}{rules}""")
    return config


def _tries_implicit(box: Box) -> bool:
    return ARSENAL[box.attack].implicit is not None


def lab_options(config: Path, box: Box) -> Options:
    """The configuration, with what no file can say: the lab's port for implicit TLS, and less patience than usual."""
    options = load(config)
    if not _tries_implicit(box):
        return options
    patience = replace(options.deliver.timeouts, connect=IMPLICIT_SECONDS, handshake=IMPLICIT_SECONDS)
    return replace(options, deliver=replace(options.deliver, implicit_port=box.berths.implicit_port, timeouts=patience))


def _rule(box: Box, protection: SiteProtection) -> str:
    return _demand(box, protection) + (_route(box, protection) if _tries_implicit(box) else "")


def _route(box: Box, protection: SiteProtection) -> str:
    """To the same host, at the port for implicit TLS."""
    if protection not in ROUTED:
        return ""
    site = box.world.sites[protection]
    host, port = _quoted(f"[{site.host}]"), box.berths.implicit_port
    return f"\n[route.{_quoted(site.domain)}]\nnext_hop = {host}\nimplicit_tls = true\nport = {port}\n"


def _demand(box: Box, protection: SiteProtection) -> str:
    domain = _quoted(box.world.sites[protection].domain)
    if protection is SiteProtection.REQUIRE_TLS:
        return f'\n[domain.{domain}]\ntls = "require-tls"\n'
    if protection is SiteProtection.VERIFY:
        return f'\n[domain.{domain}]\ntls = "verify"\ntrust = {_quoted(box.authority_file)}\n'
    if protection is SiteProtection.MEMORY:
        return f'\n[domain.{domain}]\ntls = "may"\nmemory = "hold"\n'
    if protection is SiteProtection.OWN_CA:
        return f'\n[domain.{domain}]\ntls = "verify"\ntrust = {_quoted(box.private_authority_file)}\n'
    return ""


def _quoted(value: str | Path) -> str:
    """A TOML basic string; JSON's escapes are among TOML's."""
    return json.dumps(str(value))


def recipient_of(box: Box, protection: SiteProtection) -> str:
    """Who gets mail at a domain."""
    return f"ann@{box.world.sites[protection].domain}"


class NotAccepted(Exception):
    """The server under test did not take a message. `str()` says why."""


class ObservedState(StrEnum):
    """What the server under test says became of a recipient."""

    DELIVERED = "delivered"
    DEFERRED = "deferred"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class OperatorRecord:
    """The server's own account of the first attempt at a recipient: what its operator reads in `queue show`."""

    state: ObservedState
    level: Level | None
    reasons: tuple[dict[str, str], ...]


class _FirstAttempts(Watcher):
    """An observer in the server under test: what it tells its log and its statistics of each first attempt.

    The queue is no witness for this: what was delivered leaves it, and its journal with it.
    """

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], asyncio.Future[Mapping[str, Any]]] = {}

    def attempted(self, task: DeliveryTask, attempt: Attempt) -> None:  # noqa: ARG002  # the port's signature
        """Keep it."""
        found = self.of(attempt.message_id, attempt.next_hop)
        if not found.done():
            found.set_result(journal.record(attempt))

    def of(self, message_id: str, next_hop: str) -> asyncio.Future[Mapping[str, Any]]:
        """The first attempt of a message at a next hop, once there was one."""
        return self._found.setdefault((message_id, next_hop), asyncio.get_running_loop().create_future())


class Subject:
    """A running server under test, used as its users and its operator use it.

    Every message goes to somebody in limbo, too: a domain whose host never answers. That keeps the message in the
    queue.
    """

    def __init__(self, server: app.Server) -> None:
        self._server = server
        self._address, self._port = server.smtp_addresses[0]
        self._attempts = _FirstAttempts()
        server.observers.add(self._attempts)

    @property
    def place(self) -> tuple[str, int]:
        """Where it takes mail."""
        return self._address, self._port

    async def submit(
        self,
        recipient: str,
        secret: str,
        *,
        tls: bool = False,
        requiretls: bool = False,
        through: tuple[str, int] | None = None,
    ) -> str:
        """Hand over a message with a secret, inside TLS if so; the id that the server answered. Raises NotAccepted.

        `through`: connect to an attacker on the path instead.
        """
        recipients = (recipient, f"nobody@{LIMBO}")
        try:
            place = through or self.place
            return await asyncio.to_thread(_submit, place, recipients, secret, tls=tls, requiretls=requiretls)
        except OSError as error:
            raise NotAccepted(f"the server under test did not take a message for {recipient}: {error}") from error

    async def record_of(self, message_id: str, recipient: str, *, timeout_seconds: float) -> OperatorRecord | None:
        """The record of a recipient's first attempt; None when there is none in time."""
        next_hop = recipient.partition("@")[2]
        with suppress(TimeoutError):  # that is an outcome, too
            async with asyncio.timeout(timeout_seconds):
                return _record(await asyncio.shield(self._attempts.of(message_id, next_hop)))
        return None

    async def is_queued(self, message_id: str, recipient: str) -> bool:
        """Whether the recipient is still waiting in the queue, once what became of the first attempt is settled."""
        while True:
            message = await self._server.store.message(message_id)
            recipients = message.recipients if message is not None else ()
            state = next((each.state for each in recipients if str(each.recipient) == recipient), None)
            if state != "leased":
                return state == "queued"
            await asyncio.sleep(POLL_SECONDS)


def _record(attempt: Mapping[str, Any]) -> OperatorRecord:
    level = attempt["level"]
    return OperatorRecord(
        state=ObservedState(attempt["outcomes"][0]["kind"]),
        level=None if level is None else Level(level),
        reasons=tuple(
            {
                "code": reason["code"],
                "text": reason["sentence"],
                "subject": reason["subject"],
                "section": reason["section"],
            }
            for reason in attempt["reasons"]
        ),
    )


async def see_policies(box: Box, config: Path) -> None:
    """What the server knows before the attack: MTA-STS policies, found in peace as delivery finds them, and deliveries.

    Not the policy of first contact. Raises app.StartFailed, StoreFailed.
    """
    options = load(config)
    box.peace.set()
    async with AsyncExitStack() as stack:
        state = open_state(options.store.engine, options.state_directory)
        stack.push_async_callback(state.close)
        asked = await stack.enter_async_context(validated_dns(options.resolver))
        discoverer = await stack.enter_async_context(discovering(options, asked, state))
        domains = [box.world.sites[protection].domain for protection in REMEMBERED]
        await asyncio.gather(*(discoverer.destination(NextHop(domain, box.berths.port)) for domain in domains))
        await state.memory().learn(_past_deliveries(box), time.time())
    box.peace.clear()


def _past_deliveries(box: Box) -> list[Sighting]:
    """Deliveries inside verified TLS to the genuine host, enough of them that it is missed when something is gone."""
    site, now = box.world.sites[SiteProtection.MEMORY], time.time()
    key = key_of([site.credential.certificate.public_bytes(Encoding.DER)]) or ""
    shown = VerifiedKey(key, "Lab Public CA")
    return [
        Sighting(
            domain=site.domain,
            host=site.host,
            hosts=site.hosts,
            at=now - days * DAY,
            encrypted=True,
            certificate=shown,
        )
        for days in DELIVERED_DAYS_AGO
    ]


@asynccontextmanager
async def running_subject(box: Box) -> AsyncIterator[Subject]:
    """The server under test, in this process, from start to orderly end. Raises app.StartFailed, StoreFailed.

    It has seen the MTA-STS policies in peace, but for that of first contact.
    """
    config = write_config(box, f"{box.subject_address}:{box.berths.port}")
    await see_policies(box, config)
    async with app.running(lab_options(config, box)) as server:
        yield Subject(server)


def _submit(place: tuple[str, int], recipients: Sequence[str], secret: str, *, tls: bool, requiretls: bool) -> str:
    """By the standard library's client, step by step, because it hides the answer to DATA otherwise. Blocks."""
    message = EmailMessage(policy=email.policy.SMTP)
    message["From"] = SENDER
    message["To"] = recipients[0]
    message["Subject"] = "A letter"
    message.set_content(f"The secret is {secret}.\n")
    with smtplib.SMTP(*place, local_hostname="client.test", timeout=SMTP_SECONDS) as client:
        client.ehlo()
        if tls or requiretls:  # RFC 8689 section 4.2.1: that is said inside TLS only
            client.starttls(context=accept_any_context())
            client.ehlo()
        code, answer = client.mail(SENDER, ["REQUIRETLS"] if requiretls else [])
        if code != 250:
            raise smtplib.SMTPSenderRefused(code, answer, SENDER)
        for recipient in recipients:
            code, answer = client.rcpt(recipient)
            if code != 250:
                raise smtplib.SMTPRecipientsRefused({recipient: (code, answer)})
        code, answer = client.data(message.as_bytes())
        if code != 250:
            raise smtplib.SMTPDataError(code, answer)
        return answer.decode().split()[-1]
