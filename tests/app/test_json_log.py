"""`--log json` of a running server: every object has the fields that the reference documents, and no others."""

import asyncio
import contextlib
import json
import re
import smtplib
from pathlib import Path
from typing import Any

import letterlock
from tests.app.test_supervisor import Running, arrived, send
from tests.app.test_supervisor import serving as serving_with
from tests.cli.running import letterlock as run
from tests.soak.reloads import unused_port
from tests.soak.sink import Sink

REFERENCE = (Path(letterlock.__file__).parents[2] / "docs/reference/logs.md").read_text().partition("\n## JSON\n")[2]
ALWAYS = {"time": float, "level": str, "program": str, "process": int, "event": str, "message": str}
REQUIRED = {
    "connect": {"client"},
    "disconnect": {"client", "messages", "commands"},
    "accepted": {"id", "client", "protocol", "hello"},
    "message-id": {"id", "message_id"},
    "queued": {"id", "sender", "size", "recipients"},
    "rejected": {"command", "client", "reply", "sender", "recipient", "protocol", "hello"},
    "delivery": {"id", "recipient", "next_hop", "relay", "delay_seconds", "dsn", "status", "text", "in_doubt", "tls"},
    "order": {"id", "order", "by", "uid", "login_uid", "reason"},
    "message": set(),
}
"""What programs rely on: no field may go, whatever the reference says."""


def documented() -> dict[str, set[str]]:
    """The fields of each event, by the reference's table."""
    fields: dict[str, set[str]] = {}
    for events, told in re.findall(r"^\| ((?:`[a-z-]+`(?:, )?)+) \| (.*) \|$", REFERENCE, re.MULTILINE):
        without_values = re.sub(r"\([^)]*\)", "", told)
        for event in re.findall(r"`([a-z-]+)`", events):
            fields[event] = set(re.findall(r"`([a-z_-]+)`", without_values))
    return fields


def configuration(directory: Path, port: int, target: int) -> Path:
    path = directory / "letterlock.toml"
    path.write_text(
        f'hostname = "mx.example"\n[smtp]\nlisten = ["127.0.0.1:{port}"]\nrelay_networks = ["127.0.0.1/32"]\n'
        f'[queue]\ndirectory = "{directory}/queue"\n[resolver]\nupstream = ["127.0.0.1:9"]\n'
        f"[delivery]\nloopback_hosts = true\nport = {target}\nmta_sts = false\n"
    )
    return path


async def _day(server: Running, config: Path, port: int, sink: Sink) -> None:
    """Mail that is delivered, deferred, refused; orders; a reload; a client that leaves without a word."""
    await asyncio.to_thread(send, port, 1)
    await arrived(sink, 1)
    await asyncio.to_thread(_strangers, port)
    await server.until('"deferred"')
    for words in (("hold", "--all", "--because", "a test"), ("remove", "--all", "--yes")):
        assert (await run("queue", *words, "--config", config)).status == 0
    assert (await run("reload", "--config", config)).status == 0
    await server.until('"order": "reload"')


def _strangers(port: int) -> None:
    stranger = smtplib.SMTP("127.0.0.1", port, timeout=30, source_address=("127.0.0.9", 0))
    with stranger, contextlib.suppress(smtplib.SMTPRecipientsRefused):
        stranger.sendmail("a@b.example", ["x@elsewhere.example"], b"Subject: x\r\n\r\nx\r\n")
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        client.sendmail(
            "a@b.example", ["x@unreachable.example"], b"Subject: x\r\nMessage-ID: <7@b.example>\r\n\r\nx\r\n"
        )
    client = smtplib.SMTP("127.0.0.1", port, timeout=30)
    client.ehlo()
    client.close()


def _see_that_it_is_as_documented(entry: dict[str, Any], fields: dict[str, set[str]]) -> None:
    event = entry["event"]
    assert {name: type(entry[name]) for name in ALWAYS} == ALWAYS
    assert entry.keys() - ALWAYS.keys() - {"traceback"} <= fields[event], entry
    assert REQUIRED.get(event, set()) <= entry.keys(), entry


async def test_every_object_of_a_day_is_as_documented(tmp_path: Path) -> None:
    with Sink("127.0.0.1") as sink, unused_port(shared=False) as port:
        config = configuration(tmp_path, port, sink.port)
        async with serving_with(config, "asking 127", after=("--log", "json")) as server:
            await _day(server, config, port, sink)
            await server.stop()
    entries = [json.loads(line) for line in server.log if line.startswith("{")]
    assert len(entries) == len([line for line in server.log if line.strip()]), "every line is an object"
    fields = documented()
    for entry in entries:
        _see_that_it_is_as_documented(entry, fields)
    assert {entry["event"] for entry in entries} >= REQUIRED.keys()
    orders = {entry["order"]: entry["reason"] for entry in entries if entry["event"] == "order"}
    assert orders == {"hold": "a test", "remove": None, "reload": None}
