"""A session that ended, however that went, needs no cycle collector: under load that one waits for a long time."""

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from letterlock.deliver.session import Opened, open_session
from letterlock.deliver.transaction import transact
from letterlock.policy.decision import Encryption, Requirement
from tests.deliver.world import ADDRESS, ANN, BODY, OPTIONS, MemoryDialer, Server, make_ports, make_task

CLEAR = Requirement(encryption=Encryption.NONE, authentication=None, sni=None, fallback=None, reasons=())
OTHER = b"250 ok\r\n250 and more that nobody asked for\r\n"


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {"MAIL": b"421 closing\r\n"},
        {"MAIL": b"no reply at all\r\n"},
        {"MAIL": b""},
        {"DATA": b"421 closing\r\n"},
        {".": b"421 closing\r\n"},
        {".": b""},
        {".": OTHER},
    ],
    ids=["well", "421", "malformed", "closed", "421 to DATA", "421 to the message", "closed in doubt", "out of step"],
)
async def test_a_session_that_is_over_is_gone(dialer: MemoryDialer, answers: dict[str, bytes]) -> None:
    dialer.handlers[ADDRESS] = Server(answers={word: [answer] for word, answer in answers.items()})
    session = await open_session(ADDRESS, CLEAR, ports=make_ports(dialer), options=OPTIONS)
    assert isinstance(session, Opened)
    gone = weakref.ref(session.conversation.client)
    await transact(session, make_task().envelope, [ANN], BODY, server="mx")
    await session.conversation.end()
    del session
    await asyncio.sleep(0)  # until then the event loop holds what woke us
    assert gone() is None


async def test_a_server_that_breaks_the_protocol_before_mail_leaves_nothing(dialer: MemoryDialer) -> None:
    dialer.handlers[ADDRESS] = Server(answers={"EHLO": [b"what?\r\n"]})
    before = _clients()
    await open_session(ADDRESS, CLEAR, ports=make_ports(dialer), options=OPTIONS)
    await asyncio.sleep(0)
    assert _clients() == before


def _clients() -> int:
    return sum(type(each).__name__ == "SmtpClient" for each in gc.get_objects())
