"""The whole server, the two commands, and Python's own `smtplib` beside them."""

import asyncio
import smtplib
import sys
from pathlib import Path

import pytest

from letterlock.app import server as app
from letterlock.config import load
from letterlock.sendmail.drop_file import leave
from letterlock.sendmail.transfer import SubmittedEnvelope
from tests.sendmail.running import run

CONFIG = """\
hostname = "host.example.org"
[smtp]
listen = ["127.0.0.1:0"]
[queue]
directory = "queue"
[resolver]
upstream = ["127.0.0.1:1"]
timeout_seconds = 0.1
"""


async def test_what_sendmail_and_smtplib_hand_over_is_in_mailq(tmp_path: Path) -> None:
    (tmp_path / "queue").mkdir(mode=0o700)
    config = tmp_path / "letterlock.toml"
    config.write_text(CONFIG)
    async with app.running(load(config)) as server:
        host, port = server.smtp_addresses[0]
        config.write_text(CONFIG.replace("127.0.0.1:0", f"{host}:{port}"))
        stdin = b"To: bob@example.net\n\nhi\n"
        sent = await run("command", "-t", "-f", "ann@example.org", stdin=stdin, home=tmp_path, config=config)
        assert (sent.status, sent.err) == (0, "")
        await asyncio.to_thread(_send, host, port)
        listed = await run("mailq", stdin=b"", home=tmp_path, config=config)
    assert listed.status == 0
    assert listed.out.count("bob@example.net\n") == 2
    assert listed.out.count(" ann@example.org\n") == 2
    assert listed.out.endswith(" Kbytes in 2 Requests.\n")


def _send(host: str, port: int) -> None:
    with smtplib.SMTP(host, port, timeout=20) as session:
        session.sendmail("ann@example.org", ["bob@example.net"], b"Subject: s\r\n\r\nhi\r\n")


async def test_mail_that_is_sent_while_the_server_is_down_is_in_its_queue_after_the_start_once(tmp_path: Path) -> None:
    """Input 32: the guide's promise."""
    config = tmp_path / "letterlock.toml"
    config.write_text(CONFIG)
    async with app.running(load(config)):
        pass  # a first start makes the drop directory
    config.write_text(CONFIG.replace("127.0.0.1:0", "127.0.0.1:1"))
    arguments = ("-f", "ann@example.org", "bob@example.net")
    sent = await run("command", *arguments, stdin=b"hi\n", home=tmp_path, config=config)
    assert (sent.status, sent.err) == (0, "")
    config.write_text(CONFIG)
    for _ in range(2):
        async with app.running(load(config)) as server:
            assert server.collector is not None
            await server.collector.collect()
            listed = await run("mailq", stdin=b"", home=tmp_path, config=config)
            assert listed.out.count("bob@example.net") == 1


@pytest.mark.slow
async def test_a_server_killed_while_it_takes_mail_from_the_drop_has_it_once(tmp_path: Path) -> None:
    """With the real store: kills at times that nobody has chosen."""
    config = tmp_path / "letterlock.toml"
    config.write_text(CONFIG)
    async with app.running(load(config)):
        pass
    wire = b"Subject: x\r\n\r\nhi\r\n"
    names = [f"u{number}@example.net" for number in range(40)]
    for name in names:
        leave(
            str(tmp_path / "queue-drop"),
            [SubmittedEnvelope("", [name], body_type="7BIT").batch([name], wire, "h.example")],
        )
    for kill in range(4):
        server = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "letterlock", "serve", "--config", str(config)), stderr=asyncio.subprocess.PIPE
        )
        assert server.stderr is not None
        seen = 0
        while seen < 5 and (line := await asyncio.wait_for(server.stderr.readline(), 20)):
            seen += b": uid=" in line or (b"listening" in line and kill > 2)
            if not list((tmp_path / "queue-drop").glob("new-*")):
                break
        server.kill()
        await server.wait()
    async with app.running(load(config)) as whole:
        assert whole.collector is not None
        while await whole.collector.collect():
            pass
        listed = await run("mailq", stdin=b"", home=tmp_path, config=config)
    assert sorted(listed.out.count(f" {name}\n") for name in names) == [1] * len(names)
    assert not [path for path in (tmp_path / "queue-drop").rglob("*") if path.is_file()]


async def test_a_maildir_that_cannot_be_written_is_told_at_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tmp_path / "letterlock.toml"
    route = f'[route."example.org"]\nnext_hop = "maildir:{tmp_path}/not-mounted/{{local}}"\n'
    config.write_text(CONFIG + route)
    async with app.running(load(config)):
        pass
    assert f"will wait: {tmp_path}/not-mounted: No such file or directory; hint: under systemd" in caplog.text
