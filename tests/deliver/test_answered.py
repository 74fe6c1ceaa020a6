"""How fast a server answers is known as soon as it has answered EHLO."""

import pytest

from letterlock.deliver.session import Opened, open_session
from letterlock.net.tls import ServerContext
from letterlock.policy.decision import Encryption, Requirement
from tests.deliver.world import ADDRESS, OPTIONS, HandClock, MemoryDialer, MemoryStream, Server, make_ports


class Passing(list[str]):
    """A server's list of commands: for each, half a second passes."""

    def __init__(self, clock: HandClock) -> None:
        self._clock = clock

    def append(self, line: str) -> None:
        self._clock.time += 0.5
        super().append(line)


@pytest.mark.parametrize("encryption", [Encryption.NONE, Encryption.MANDATORY])
async def test_the_first_answer_to_ehlo_is_timed_once(
    dialer: MemoryDialer, context: ServerContext, encryption: Encryption
) -> None:
    clock, found = HandClock(), list[tuple[float, float]]()
    server = Server(context, clear=Passing(clock), secret=Passing(clock))

    async def late(stream: MemoryStream) -> None:
        clock.time += 6.0  # a greeting that is delayed on purpose
        await server(stream)

    dialer.handlers[ADDRESS] = late
    requirement = Requirement(encryption=encryption, authentication=None, sni=None, fallback=None, reasons=())
    opened = await open_session(
        ADDRESS,
        requirement,
        ports=make_ports(dialer, clock=clock),
        options=OPTIONS,
        answered=lambda elapsed, reply: found.append((elapsed, reply)),
    )
    assert isinstance(opened, Opened)
    assert found == [(6.5, 0.5)]


async def test_of_a_server_that_refuses_to_talk_nothing_is_timed(dialer: MemoryDialer) -> None:
    found = list[tuple[float, float]]()
    dialer.handlers[ADDRESS] = Server(greeting=b"554 no\r\n")
    requirement = Requirement(encryption=Encryption.NONE, authentication=None, sni=None, fallback=None, reasons=())
    await open_session(
        ADDRESS,
        requirement,
        ports=make_ports(dialer),
        options=OPTIONS,
        answered=lambda elapsed, reply: found.append((elapsed, reply)),
    )
    assert found == []
