"""NUL in message content (RFC 2045 sections 2.7 and 2.8), and the memory that envelopes take."""

from dataclasses import replace

import pytest

from tests.smtp.server_driver import LIMITS, Driver, envelope, ready

REFUSED = b"554 5.6.0 NUL in the message (RFC 2045 section 2.8); encode it\r\n"
CONTENTS = [b"a\0b\r\n", b"\0\r\n", b"Subject: \0\r\n\r\nx\r\n", b"x\r\n..\0\r\n"]


def by_data(driver: Driver, content: bytes) -> bytes:
    driver.send(envelope())
    return driver.send(content + b".\r\n")


def by_bdat(driver: Driver, content: bytes) -> bytes:
    driver.send(envelope().removesuffix(b"DATA\r\n"))
    return driver.send(b"BDAT %d LAST\r\n" % len(content) + content)


@pytest.mark.parametrize("way", [by_data, by_bdat])
@pytest.mark.parametrize("content", CONTENTS)
def test_rfc2045_2_8_nul_is_refused_and_the_session_goes_on(way: object, content: bytes) -> None:
    assert callable(way)
    driver = ready()
    assert way(driver, content) == REFUSED
    assert not driver.messages
    assert way(driver, b"x\r\n").startswith(b"250 ")


@pytest.mark.parametrize("way", [by_data, by_bdat])
def test_where_it_is_configured_nul_passes(way: object) -> None:
    assert callable(way)
    driver = ready(limits=replace(LIMITS, accept_nul=True))
    assert way(driver, CONTENTS[0]).startswith(b"250 ")
    assert driver.messages[0].content == CONTENTS[0]


def test_envelopes_count_as_held() -> None:
    driver = ready()
    driver.send(b"MAIL FROM:<a@x.test>\r\n")
    assert driver.server.held_octets == 0
    orcpt = b"rfc822;" + b"o" * 400
    for number in range(100):
        driver.send(b"RCPT TO:<r%d@x.test> ORCPT=%b\r\n" % (number, orcpt))
    assert 100 * 1400 < driver.server.held_octets < 100 * 1500
    driver.send(b"RSET\r\n")
    assert driver.server.held_octets == 0
