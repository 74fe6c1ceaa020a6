"""Debian's opendkim as a program, a filter of ours: it verifies what we sign, and we verify what it signs.

It reads the keys from a file, in the place of DNS. Bodies and headers are odd ones: folded, 8-bit, empty, with blanks
at the ends of lines. (tests/mailauth/agreement compares its library with ours over thousands.)
"""

import asyncio
import random
import shutil
import smtplib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from letterlock.dkim import Algorithm, Signer, SigningKey, generate_key, read_signing_key, split
from letterlock.mailauth.results import parse
from letterlock.net.service_address import ServiceAddress
from letterlock.receive.ask_milter import Milter
from letterlock.receive.options import ReceiveOptions
from letterlock.receive.profiles import Profile
from tests.interop.programs import accepts, free_port, need_root, running
from tests.interop.test_filters import for_user
from tests.mailauth.agreement.messages import message
from tests.mailauth.answers import txt
from tests.mailauth.dkim.forging import verdicts
from tests.receive.world import world

pytestmark = pytest.mark.interop
HOST = "127.0.0.1"
NOW = 1_795_750_000.0
MESSAGES = 30
ALGORITHMS = (Algorithm.RSA_SHA256, Algorithm.ED25519_SHA256)


@contextmanager
def opendkim(folder: Path, *lines: str) -> Iterator[int]:
    """The filter with these lines of configuration; its port."""
    need_root("opendkim")
    for_user(folder, "opendkim")
    port = free_port(HOST)
    usual = (
        f"Socket inet:{port}@{HOST}", "UserID opendkim", f"PidFile {folder}/pid", "Syslog no", "Background no",
        "RequireSafeKeys no",  # pytest's folders are below /tmp, where everybody may write
    )  # fmt: skip
    (folder / "conf").write_text("\n".join((*usual, *lines)) + "\n")
    command: list[str | Path] = ["opendkim", "-f", "-x", folder / "conf"]
    with running("opendkim", command, log=folder / "log", ready=lambda: accepts(HOST, port)):
        yield port


def contents() -> list[bytes]:
    """Messages, of which one has no body and one no line end."""
    chance = random.Random(20)
    made = [message(chance, repeated=False) for _ in range(MESSAGES - 2)]
    header = b"From: a@example.org\r\nSubject: folded\r\n\tand  again \r\n\r\n"
    return [*made, header, header + b"no end"]


def send_all(address: tuple[str, int], messages: Sequence[bytes]) -> None:
    """Over one session, as they are."""
    with smtplib.SMTP(*address, timeout=60) as client:
        client.ehlo("client.example.org")
        for each in messages:
            client.sendmail("a@example.org", ["b@example.net"], each, ["BODY=8BITMIME"])


async def passed_through(port: int, messages: Sequence[bytes], signer: Signer | None = None) -> list[bytes]:
    """Messages as they are kept by a listener whose filter is at a port."""
    address = ServiceAddress(host=HOST, port=port)
    profile = Profile(milters=(Milter(name="opendkim", address=address),))
    async with world(ReceiveOptions(hostname="mx.example.org", signer=signer), profile) as listening:
        await asyncio.to_thread(send_all, listening.address, messages)
        return [content for _, content, _ in listening.store.kept]


def key_of(folder: Path, algorithm: Algorithm) -> SigningKey:
    """A key in a file that opendkim reads too."""
    path = folder / f"{algorithm.name.lower()}.pem"
    path.write_bytes(generate_key(algorithm))
    path.chmod(0o600)
    shutil.chown(path, "opendkim")
    return read_signing_key(path.read_bytes(), "example.org", path.stem.replace("_", "-"))


async def test_opendkim_verifies_what_we_sign(tmp_path: Path) -> None:
    keys = [key_of(tmp_path, algorithm) for algorithm in ALGORITHMS]
    (tmp_path / "dns").write_text("".join(f"{each.record_name} {each.record}\n" for each in keys))
    ours = [Signer([key]).sign(split(each), NOW) + each for each in contents() for key in keys]
    lines = ("Mode v", "InternalHosts 192.0.2.1", f"TestDNSData {tmp_path}/dns", "AuthservID opendkim.test")
    with opendkim(tmp_path, *lines) as port:
        signed = await passed_through(port, [*ours, ours[0].replace(b"From:", b"From: x")])
    found = [parse(split(each).named(b"authentication-results")[0].value.decode()) for each in signed]
    assert [each.results[0].result for each in found] == ["pass"] * len(ours) + ["fail"]


@pytest.mark.parametrize(
    ("algorithm", "form"),
    [
        (Algorithm.RSA_SHA256, "simple/simple"),
        (Algorithm.RSA_SHA256, "relaxed/relaxed"),
        (Algorithm.ED25519_SHA256, "relaxed/relaxed"),  # its simple ones do not hold by its own library either (2.11)
    ],
)
async def test_we_verify_what_opendkim_signs(tmp_path: Path, algorithm: Algorithm, form: str) -> None:
    key = key_of(tmp_path, algorithm)
    lines = (
        "Mode s", f"Domain {key.domain}", f"Selector {key.selector}",
        f"KeyFile {tmp_path}/{algorithm.name.lower()}.pem",
        f"SignatureAlgorithm {algorithm.value}", f"InternalHosts {HOST}", f"Canonicalization {form}",
    )  # fmt: skip
    # A filter is not shown blanks before a colon, which the simple form keeps.
    messages = [each for each in contents() if form != "simple/simple" or b" :" not in each.partition(b"\r\n\r\n")[0]]
    assert len(messages) > MESSAGES / 3
    with opendkim(tmp_path, *lines) as port:
        signed = await passed_through(port, messages)
    answer = txt(key.record_name, key.record)
    found = [verdicts(each, answer, now=NOW) for each in signed]
    assert [each.passed for [each] in found] == [True] * len(messages)
    broken = [
        verdicts(each.replace(b"From:", b"From: x"), txt(key.record_name, key.record), now=NOW) for each in signed
    ]
    assert not any(each.passed for [each] in broken)
