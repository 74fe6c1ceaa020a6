"""A change of keys with a running server and real name servers: what it signs with, before, between and after."""

import asyncio
import os
import re
import smtplib
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import dns.flags
import dns.message
import pytest

from letterlock import dkim
from letterlock.lab.authority import Validity, ZoneKey
from letterlock.lab.dns_server import _Udp
from letterlock.lab.namespace import NameSpace
from letterlock.lab.zones import Zone

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.geteuid() != 0, reason="port 53 is for root")]
NAME_SERVER = "127.0.2.53"
PATIENCE_SECONDS = 60.0


class Names:
    """A signed zone `test.`, whose server shows the records that were published so far."""

    def __init__(self) -> None:
        self._root, self._test = ZoneKey.make(), ZoneKey.make()
        self.published: dict[str, str] = {}
        self.publish({})

    def publish(self, records: dict[str, str]) -> None:
        """Show these TXT records, and no others."""
        root, test = Zone(".", key=self._root), Zone("test.", key=self._test)
        test.add("ns.nic", "A", NAME_SERVER)
        for name, line in records.items():
            test.add(f"{name}.", "TXT", line.partition("( ")[2].removesuffix(" )"))
        root.delegate(test)
        for zone in (test, root):
            zone.publish(Validity.around(time.time()))
        self.space = NameSpace([root, test])

    def answer(self, query: dns.message.Message) -> dns.message.Message:
        """As an authoritative server and as a resolver, for it is both here."""
        reply = self.space.answer(query)
        reply.flags |= dns.flags.AA
        return reply


@asynccontextmanager
async def serving(names: Names) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Udp(names.answer), local_addr=(NAME_SERVER, 53))
    try:
        yield
    finally:
        transport.close()


@asynccontextmanager
async def server(config: Path, port: int) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "letterlock", "serve", "--config", str(config), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    break
        yield
    finally:
        process.terminate()
        await process.wait()


async def command(*arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "letterlock",
        "dkim",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(PATIENCE_SECONDS):
        out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


def records(folder: Path) -> dict[str, str]:
    """The zone lines of all keys in a directory, by name."""
    keys = [dkim.read_signing_key(path.read_bytes(), "own.test", path.stem) for path in sorted(folder.glob("*.pem"))]
    return {key.record_name: dkim.zone_line(key.record_name, key.record) for key in keys}


def selectors_of_a_message(port: int, mailbox: Path) -> list[str]:
    """Send a message; with which keys it was signed when it arrived."""
    with smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE_SECONDS) as client:
        client.sendmail("ann@own.test", ["bob@there.test"], b"From: ann@own.test\r\nSubject: x\r\n\r\nhi\r\n")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := sorted((mailbox / "new").glob("*"))):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    content = found[0].read_text()
    found[0].unlink()
    return re.findall(r"DKIM-Signature:.*?[ ;]s=([^;]+);", content, re.DOTALL)


async def test_a_running_server_signs_with_the_keys_that_every_server_shows(tmp_path: Path) -> None:
    names, folder, mail = Names(), tmp_path / "keys", tmp_path / "mail"
    mail.mkdir()
    (tmp_path / "anchors").write_text(names.space.anchor())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    config = tmp_path / "letterlock.toml"
    config.write_text(
        f'[smtp]\nlisten = ["127.0.0.1:{port}"]\n[queue]\ndirectory = "queue"\ndrop_directory = false\n'
        f'[resolver]\nupstream = ["{NAME_SERVER}"]\nanchors = ["anchors"]\n[dkim."own.test"]\ndirectory = "keys"\n'
        f'[route."*"]\nnext_hop = "maildir:{mail}/{{local}}"\ncreate_mailboxes = true\n'
    )
    rotate = ("rotate", "own.test", "--algorithm", "ed25519", "--config", str(config))
    async with serving(names):
        status, shown = await command(*rotate)
        assert status == 1, shown
        assert "127.0.2.53: no record" in shown
        first = records(folder)
        async with server(config, port):
            assert await asyncio.to_thread(selectors_of_a_message, port, mail / "bob") == []
            names.publish(first)
            status, shown = await command(*rotate)
            assert status == 0, shown
            [old] = await asyncio.to_thread(selectors_of_a_message, port, mail / "bob")
            status, shown = await command(*rotate)
            assert status == 1, shown
            names.publish(records(folder))
            assert await asyncio.to_thread(selectors_of_a_message, port, mail / "bob") == [old]
            status, shown = await command(*rotate)
            assert f"{old} " in shown
            assert "keep its record until" in shown
            [new] = await asyncio.to_thread(selectors_of_a_message, port, mail / "bob")
            assert new != old
