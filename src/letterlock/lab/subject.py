"""The server under test: the real `serve` code, with a configuration that any operator could have written."""

import asyncio
import email.policy
import json
import smtplib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from email.message import EmailMessage
from enum import StrEnum
from pathlib import Path
from typing import Any

from letterlock.app import server as app
from letterlock.app.resolving import discovering, validated_dns
from letterlock.config import load
from letterlock.lab.box import Box, write_credential
from letterlock.lab.issuing import accept_any_context, make_self_signed
from letterlock.lab.scenarios import SiteProtection
from letterlock.lab.world import LIMBO, WITH_STS
from letterlock.policy.decision import Level
from letterlock.routing.routes import NextHop
from letterlock.state.shared_state import open_state

HOSTNAME = "letterlock.test"
SENDER = f"sender@{HOSTNAME}"
DNS_SECONDS = 4.0  # chosen: enough on a busy machine, and one attack is never to answer
SMTP_SECONDS = 20.0  # chosen: a guard; everything is on this machine
REMEMBERED = tuple(each for each in SiteProtection if each in WITH_STS and each is not SiteProtection.STS_FIRST)
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
{rules}""")
    return config


def _rule(box: Box, protection: SiteProtection) -> str:
    domain = _quoted(box.world.sites[protection].domain)
    if protection is SiteProtection.REQUIRE_TLS:
        return f'\n[domain.{domain}]\ntls = "require-tls"\n'
    if protection is SiteProtection.VERIFY:
        return f'\n[domain.{domain}]\ntls = "verify"\ntrust = {_quoted(box.authority_file)}\n'
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


class Subject:
    """A running server under test, used as its users and its operator use it.

    Every message goes to somebody in limbo, too: a domain whose host never answers. That keeps the message in the
    queue, and with it the journal of what was tried for the recipient that matters.
    """

    def __init__(self, server: app.Server) -> None:
        self._server = server
        self._address, self._port = server.smtp_addresses[0]

    async def submit(self, recipient: str, secret: str, *, requiretls: bool = False) -> str:
        """Hand over a message with a secret; the id that the server answered. Raises NotAccepted."""
        recipients = (recipient, f"nobody@{LIMBO}")
        try:
            return await asyncio.to_thread(_submit, self._address, self._port, recipients, secret, requiretls)
        except OSError as error:
            raise NotAccepted(f"the server under test did not take a message for {recipient}: {error}") from error

    async def record_of(self, message_id: str, recipient: str, *, timeout_seconds: float) -> OperatorRecord | None:
        """The record of a recipient's first attempt; None when there is none in time."""
        next_hop = recipient.partition("@")[2]
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                while True:
                    for attempt in await self._server.store.attempts(message_id):
                        if attempt["next_hop"] == next_hop:
                            return _record(attempt)
                    await asyncio.sleep(POLL_SECONDS)
        return None

    async def is_queued(self, message_id: str, recipient: str) -> bool:
        """Whether the recipient is still waiting in the queue."""
        message = await self._server.store.message(message_id)
        return message is not None and any(
            str(each.recipient) == recipient and each.state == "queued" for each in message.recipients
        )


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
    """In peace, look at the domains with MTA-STS as delivery would, and remember the policies in the server's own file.

    All but that of first contact. Raises app.StartFailed, StoreFailed.
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
    box.peace.clear()


@asynccontextmanager
async def running_subject(box: Box) -> AsyncIterator[Subject]:
    """The server under test, in this process, from start to orderly end. Raises app.StartFailed, StoreFailed.

    It has seen the MTA-STS policies in peace, but for that of first contact.
    """
    config = write_config(box, f"{box.subject_address}:{box.berths.port}")
    await see_policies(box, config)
    async with app.running(load(config)) as server:
        yield Subject(server)


def _submit(address: str, port: int, recipients: Sequence[str], secret: str, requiretls: bool) -> str:
    """By the standard library's client, step by step, because it hides the answer to DATA otherwise. Blocks."""
    message = EmailMessage(policy=email.policy.SMTP)
    message["From"] = SENDER
    message["To"] = recipients[0]
    message["Subject"] = "A letter"
    message.set_content(f"The secret is {secret}.\n")
    with smtplib.SMTP(address, port, local_hostname="client.test", timeout=SMTP_SECONDS) as client:
        client.ehlo()
        if requiretls:  # RFC 8689 section 4.2.1: it is said inside TLS only
            client.starttls(context=accept_any_context())
            client.ehlo()
        code, answer = client.mail(SENDER, ["REQUIRETLS"] if requiretls else [])
        if code != 250:
            raise smtplib.SMTPSenderRefused(code, answer, SENDER)
        for recipient in recipients:
            client.rcpt(recipient)
        code, answer = client.data(message.as_bytes())
        if code != 250:
            raise smtplib.SMTPDataError(code, answer)
        return answer.decode().split()[-1]
