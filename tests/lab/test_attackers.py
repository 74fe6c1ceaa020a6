"""What each attacker does to a naive sender: the standard library's smtplib, which checks no certificate."""

import asyncio
import smtplib
import ssl

import pytest

from letterlock.lab.attackers import Injector
from letterlock.lab.box import Box, running_box
from letterlock.lab.issuing import accept_any_context
from letterlock.lab.scenarios import Attack, SiteProtection

SECRET = "secret-5f1d"
MESSAGE = f"From: a@sender.test\r\nTo: b@none.test\r\n\r\n.{SECRET}\r\n"


def send(address: str, port: int, *, tls: bool) -> None:
    """Deliver the message by hand, with or without STARTTLS. Raises SMTPException."""
    with smtplib.SMTP(address, port, local_hostname="sender.test", timeout=5) as client:
        client.ehlo()
        if tls:
            client.starttls(context=accept_any_context())
            client.ehlo()
        client.sendmail("a@sender.test", ["b@none.test"], MESSAGE)


async def send_to(box: Box, protection: SiteProtection, *, tls: bool) -> None:
    """The same, to the MX host of a domain, beside the loop."""
    address = box.berths.address(box.world.sites[protection].berth)
    await asyncio.to_thread(send, address, box.berths.port, tls=tls)


async def test_without_an_attack_the_honest_server_alone_gets_the_message() -> None:
    async with running_box(Attack.NONE) as box:
        await send_to(box, SiteProtection.NONE, tls=True)
        assert box.delivered(SiteProtection.NONE, SECRET.encode())
        assert not box.stolen(SiteProtection.NONE, SECRET.encode())
        assert box.seen_encrypted(SiteProtection.NONE, SECRET.encode())
        assert not box.delivered(SiteProtection.VERIFY, SECRET.encode())


async def test_the_content_arrives_without_the_dots_of_smtp() -> None:
    async with running_box(Attack.NONE) as box:
        await send_to(box, SiteProtection.NONE, tls=False)
        assert box.honest[SiteProtection.NONE].mailbox[0].content == MESSAGE.encode()
        assert not box.honest[SiteProtection.NONE].mailbox[0].encrypted


async def test_the_stripper_leaves_no_starttls_and_reads_what_is_sent_in_clear() -> None:
    async with running_box(Attack.STARTTLS_STRIPPED) as box:
        with pytest.raises(smtplib.SMTPNotSupportedError):
            await send_to(box, SiteProtection.NONE, tls=True)
        await send_to(box, SiteProtection.NONE, tls=False)
        assert box.stolen(SiteProtection.NONE, SECRET.encode())
        assert box.delivered(SiteProtection.NONE, SECRET.encode())


async def test_the_refuser_offers_starttls_and_answers_454() -> None:
    async with running_box(Attack.STARTTLS_REFUSED) as box:
        with pytest.raises(smtplib.SMTPResponseException, match="454"):
            await send_to(box, SiteProtection.NONE, tls=True)
        await send_to(box, SiteProtection.NONE, tls=False)
        assert box.stolen(SiteProtection.NONE, SECRET.encode())


@pytest.mark.parametrize("attack", [Attack.SELF_SIGNED, Attack.TLSA_REMOVED, Attack.TLSA_LOOKUP_FAILED])
async def test_the_impostor_reads_tls_and_the_message_still_arrives(attack: Attack) -> None:
    async with running_box(attack) as box:
        await send_to(box, SiteProtection.DANE_EE, tls=True)
        assert box.stolen(SiteProtection.DANE_EE, SECRET.encode())
        assert box.delivered(SiteProtection.DANE_EE, SECRET.encode())
        assert box.seen_encrypted(SiteProtection.DANE_EE, SECRET.encode())


async def test_the_injector_sends_clear_replies_behind_220_and_reads_only_ciphertext() -> None:
    """A victim that drops what was injected gets through to the honest server, unread."""
    async with running_box(Attack.PLAINTEXT_INJECTED) as box:
        address = box.berths.address(box.world.sites[SiteProtection.NONE].berth)
        reader, writer = await asyncio.open_connection(address, box.berths.port)
        await reader.readuntil(b"\r\n")
        writer.write(b"STARTTLS\r\n")
        assert await reader.readuntil(Injector.INJECTED) == b"220 2.0.0 Ready to start TLS\r\n" + Injector.INJECTED
        await writer.start_tls(accept_any_context())
        writer.write(b"MAIL FROM:<>\r\nRCPT TO:<b@none.test>\r\nDATA\r\n")
        await reader.readuntil(b"354 End data with <CR><LF>.<CR><LF>\r\n")
        writer.write(MESSAGE.encode() + b".\r\n")
        assert b"250" in await reader.readuntil(b"mailbox\r\n")
        writer.close()
        assert box.delivered(SiteProtection.NONE, SECRET.encode())
        assert not box.stolen(SiteProtection.NONE, SECRET.encode())
        (attacker,) = box.on_path[SiteProtection.NONE]
        assert isinstance(attacker, Injector)
        assert attacker.loot


async def test_the_attackers_own_server_has_a_certificate_that_the_public_authority_vouches_for() -> None:
    async with running_box(Attack.MX_FORGED) as box:
        trusting = ssl.create_default_context(cafile=str(box.authority_file))
        address = box.berths.address(1)
        reader, writer = await asyncio.open_connection(address, box.berths.port)
        await reader.readuntil(b"\r\n")
        writer.write(b"STARTTLS\r\n")
        await reader.readuntil(b"\r\n")
        await writer.start_tls(trusting, server_hostname=box.world.attacker_host)
        writer.close()
        await writer.wait_closed()
