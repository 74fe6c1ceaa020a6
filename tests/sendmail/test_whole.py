"""The whole server, the two commands, and Python's own `smtplib` beside them."""

import asyncio
import smtplib
from pathlib import Path

from letterlock import app
from letterlock.config import load
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
