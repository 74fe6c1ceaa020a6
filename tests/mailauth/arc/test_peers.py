"""Our seals as others read them: dkimpy and rspamd verify chains that this server began, continued and broke."""

import logging
import random
from pathlib import Path

import dkim
import pytest

from letterlock.mailauth.arc.seal import seal
from letterlock.mailauth.arc.verify import examine
from letterlock.mailauth.dkim.signing_key import SigningKey
from letterlock.mailauth.message import split
from tests.mailauth.agreement.messages import message
from tests.mailauth.agreement.rspamd import running_rspamd
from tests.mailauth.answers import txt
from tests.mailauth.dkim.forging import rsa_key

FIRST, SECOND = SigningKey("example.org", "one", rsa_key()), SigningKey("example.org", "two", rsa_key())
KEYS = (FIRST, SECOND)
SEALED_AT = 1_760_000_000.0  # others refuse what comes from the future
RESULTS = b"mx.example.org; spf=pass smtp.mailfrom=ann@example.org; dmarc=pass header.from=example.org"
PLAIN = (
    b"Received: from a.test by b.test; Thu, 26 Nov 2026 09:00:00 +0000\r\nFrom: Ann <ann@example.org>\r\n"
    b"To: bob@example.net\r\nSubject:  a   folded\r\n\tsubject \r\nDate: Thu, 26 Nov 2026 09:00:00 +0000\r\n"
    b"Message-ID: <1@example.org>\r\n\r\nHello  there \r\n\r\nbye\r\n\r\n\r\n"
)


def sealed(content: bytes, key: SigningKey) -> bytes:
    """With one more set."""
    zone = {each.record_name: txt(each.record_name, each.record) for each in KEYS}
    examination = examine(split(content))
    verdict = examination.judge({name: zone[name] for name in examination.key_names}, SEALED_AT)
    return seal(split(content), verdict, RESULTS, key, SEALED_AT) + content


ONCE = sealed(PLAIN, FIRST)
TWICE = sealed(b"Received: from b.test by c.test; Thu, 26 Nov 2026 09:00:01 +0000\r\n" + ONCE, SECOND)
CHAINS = {
    "no chain": (PLAIN, "none"),
    "one set": (ONCE, "pass"),
    "two sets": (TWICE, "pass"),
    "a footer after the seal": (ONCE + b"footer\r\n", "fail"),
    "another subject": (ONCE.replace(b"folded", b"other"), "fail"),
    "other results": (TWICE.replace(b"i=1; mx.example.org; spf=pass", b"i=1; mx.example.org; spf=fail"), "fail"),
    "a broken chain, sealed as broken": (sealed(ONCE + b"footer\r\n", SECOND), "fail"),
}


def by_dkimpy(content: bytes) -> str:
    """dkimpy's verdict. A chain that was given up has none with it."""
    logger = logging.getLogger("tests.dkimpy")
    logger.setLevel(logging.CRITICAL + 1)
    records = {f"{key.record_name}.".encode(): key.record.encode() for key in KEYS}
    try:
        found, _, reason = dkim.ARC(content, logger=logger).verify(
            dnsfunc=lambda name, timeout=0: records.get(name, b"")
        )
    except dkim.DKIMException:
        return "unreadable"
    if found is None:
        return "fail" if "reported failure" in str(reason) else "none"
    return str(found.decode())


@pytest.mark.parametrize("name", CHAINS)
def test_dkimpy_agrees(name: str) -> None:
    content, wanted = CHAINS[name]
    assert by_dkimpy(content) == wanted


def test_dkimpy_verifies_seals_of_generated_messages() -> None:
    chance = random.Random(7)
    contents = [sealed(message(chance, repeated=False), FIRST) for _ in range(60)]
    refused = [content for content in contents if by_dkimpy(content) != "pass"]
    assert all(
        content.endswith((b" ", b"\t")) or b" :" in content for content in refused
    )  # as in the comparison of DKIM
    assert len(refused) < 30


@pytest.mark.interop
def test_rspamd_agrees(tmp_path: Path) -> None:
    with running_rspamd(KEYS, tmp_path) as rspamd:
        assert {name: rspamd.arc(content) for name, (content, _) in CHAINS.items()} == {
            name: wanted for name, (_, wanted) in CHAINS.items()
        }
