"""Real filters and policy services: rspamd, opendkim, clamav-milter and postgrey decide on mail to a listener."""

import asyncio
import os
import shutil
import smtplib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from letterlock.net.service_address import ServiceAddress
from letterlock.receive.ask_milter import Milter
from letterlock.receive.ask_policy import PolicyService
from letterlock.receive.options import ReceiveOptions
from letterlock.receive.profiles import Profile
from tests.interop.programs import accepts, free_port, need_root, run, running
from tests.receive.world import world

pytestmark = pytest.mark.interop
HOST = "127.0.0.1"
OPTIONS = ReceiveOptions(hostname="mx.example.org")
HEADER = """From: Ann <ann@example.org>
To: bob@example.net
Subject: test
Message-ID: <1@example.org>
Date: Thu, 26 Nov 2026 12:00:00 +0000

"""
# The strings that mail filters agree to find: they must not stand here as they are, or scanners find this file.
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
EICAR = r"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
RSPAMD = """
options {{
  pidfile = "{folder}/pid"; cache_file = "{folder}/cache"; tempdir = "{folder}"; dynamic_conf = "{folder}/dynamic";
  history_file = "{folder}/history"; url_tld = "/usr/share/rspamd/effective_tld_names.dat"; filters = "";
  explicit_modules = []; enable_test_patterns = true; gtube_patterns = "all";
  dns {{ nameserver = "127.0.0.1:{dns}"; timeout = 0.1s; retransmits = 1; }}
}}
logging {{ type = "file"; filename = "{folder}/log"; level = "info"; }}
metric "default" {{ actions {{ reject = 15; add_header = 6; greylist = 4; }} }}
worker "rspamd_proxy" {{
  bind_socket = "127.0.0.1:{port}"; count = 1; milter = yes; timeout = 30s;
  upstream "local" {{ default = yes; self_scan = yes; }}
}}
"""


def profile(port: int) -> Profile:
    return Profile(milters=(Milter(name="real", address=ServiceAddress(host=HOST, port=port)),))


def send(address: tuple[str, int], text: str, sender: str = "ann@example.org", to: str = "bob@example.net") -> str:
    """Send a message with a real client; the reply."""
    with smtplib.SMTP(*address, timeout=60) as client:
        client.ehlo("client.example.org")
        for code, said in (client.mail(sender), client.rcpt(to)):
            if code >= 400:
                return f"{code} {said.decode()}"
        code, said = client.data(text)
    return f"{code} {said.decode()}"


async def sent(to: Profile, *texts: str) -> tuple[list[str], list[bytes]]:
    """The replies to some messages, and what was accepted of them."""
    async with world(OPTIONS, to) as running_world:
        replies = [await asyncio.to_thread(send, running_world.address, text) for text in texts]
        return replies, [body for _, body, _ in running_world.store.kept]


def for_user(folder: Path, user: str) -> None:
    """Let a user of a Debian package have a folder below pytest's, which is closed."""
    shutil.chown(folder, user)
    for parent in folder.parents:
        if parent.stat().st_uid != os.getuid() or parent == Path("/tmp"):  # noqa: S108  # where pytest's folders are
            return
        parent.chmod(parent.stat().st_mode | 0o011)


@contextmanager
def rspamd(folder: Path) -> Iterator[int]:
    need_root("rspamd")
    port = free_port(HOST)
    (folder / "conf").write_text(RSPAMD.format(folder=folder, port=port, dns=free_port(HOST)))
    for_user(folder, "_rspamd")
    command: list[str | Path] = ["rspamd", "-c", folder / "conf", "-f", "-u", "_rspamd", "-g", "_rspamd"]
    with running("rspamd", command, log=folder / "out", ready=lambda: accepts(HOST, port)):
        yield port


async def test_rspamd_rejects_gtube_and_passes_other_mail(tmp_path: Path) -> None:
    with rspamd(tmp_path) as port:
        replies, kept = await sent(profile(port), HEADER + "hello\r\n", HEADER + GTUBE + "\r\n", HEADER + "bye\r\n")
    assert replies[0].startswith("250")
    assert replies[1].startswith("554 5.7.1")
    assert "Gtube" in replies[1]
    assert replies[2].startswith("250")
    assert len(kept) == 2


async def test_opendkim_signs_and_a_verifier_finds_the_signature(tmp_path: Path) -> None:
    need_root("opendkim")
    run("opendkim-genkey", "-D", tmp_path, "-d", "example.org", "-s", "s1", "-b", "2048")
    for_user(tmp_path, "opendkim")
    shutil.chown(tmp_path / "s1.private", "opendkim")
    port = free_port(HOST)
    (tmp_path / "conf").write_text(
        f"Socket inet:{port}@{HOST}\nDomain example.org\nSelector s1\nKeyFile {tmp_path}/s1.private\nMode s\n"
        f"UserID opendkim\nPidFile {tmp_path}/pid\nInternalHosts 127.0.0.1\nSyslog no\nBackground no\n"
        "RequireSafeKeys no\n"  # pytest's folders are below /tmp, where everybody may write
    )
    command: list[str | Path] = ["opendkim", "-f", "-x", tmp_path / "conf"]
    with running("opendkim", command, log=tmp_path / "log", ready=lambda: accepts(HOST, port)):
        replies, kept = await sent(profile(port), HEADER + "hello\r\n")
    assert replies[0].startswith("250")
    assert b"DKIM-Signature: v=1; a=rsa-sha256;" in kept[0]
    assert kept[0].startswith(b"Received: from client.example.org")


async def test_clamav_milter_finds_eicar(tmp_path: Path) -> None:
    need_root("clamav-milter")
    database = tmp_path / "database"
    database.mkdir()
    # A signature of our own for the test file: the real databases are hundreds of megabytes, and are fetched.
    (database / "test.ndb").write_text("Eicar-Test-Signature:0:*:" + EICAR.encode().hex() + "\n")
    for_user(tmp_path, "clamav")
    port, scanner = free_port(HOST), free_port(HOST)
    (tmp_path / "clamd.conf").write_text(
        f"DatabaseDirectory {database}\nTCPSocket {scanner}\nTCPAddr {HOST}\nForeground yes\nUser clamav\n"
        f"PidFile {tmp_path}/clamd.pid\nTemporaryDirectory {tmp_path}\n"
    )
    (tmp_path / "milter.conf").write_text(
        f"MilterSocket inet:{port}@{HOST}\nClamdSocket tcp:{HOST}:{scanner}\nForeground yes\nUser clamav\n"
        f"OnInfected Reject\nRejectMsg Infected by %v\nAddHeader Replace\nTemporaryDirectory {tmp_path}\n"
    )
    clamd: list[str | Path] = ["clamd", "-c", tmp_path / "clamd.conf"]
    milter: list[str | Path] = ["clamav-milter", "-c", tmp_path / "milter.conf"]
    with (
        running("clamd", clamd, log=tmp_path / "clamd.log", ready=lambda: accepts(HOST, scanner)),
        running("clamav-milter", milter, log=tmp_path / "milter.log", ready=lambda: accepts(HOST, port)),
    ):
        replies, kept = await sent(profile(port), HEADER + "hello\r\n", HEADER + EICAR + "\r\n")
    assert replies[0].startswith("250")
    assert b"X-Virus-Status: Clean" in kept[0]
    assert replies[1].startswith("550 5.7.1 Infected by Eicar")
    assert len(kept) == 1


async def test_postgrey_puts_a_stranger_off_once(tmp_path: Path) -> None:
    need_root("postgrey")
    for_user(tmp_path, "postgrey")
    port = free_port(HOST)
    command: list[str | Path] = [
        "postgrey",
        f"--inet={HOST}:{port}",
        f"--dbdir={tmp_path}",
        "--delay=1",
        f"--pidfile={tmp_path}/pid",
    ]
    service = PolicyService(name="postgrey", address=ServiceAddress(host=HOST, port=port))
    with running("postgrey", command, log=tmp_path / "log", ready=lambda: accepts(HOST, port)):
        async with world(OPTIONS, Profile(policies=(service,))) as running_world:
            first = await asyncio.to_thread(send, running_world.address, HEADER + "hello\r\n")
            assert first.startswith("450 4.2.0")
            assert "Greylisted" in first
            await asyncio.sleep(1.2)  # postgrey counts whole seconds of the real clock
            again = await asyncio.to_thread(send, running_world.address, HEADER)
            assert again.startswith("250")
            assert b"X-Greylist: delayed" in running_world.store.kept[0][1]
