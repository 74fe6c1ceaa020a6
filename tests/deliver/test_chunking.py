"""CHUNKING in delivery: used where it is offered, and given up where it was an empty promise."""

from dataclasses import replace

import pytest

from letterlock.queue.tasks import OutcomeKind
from tests.deliver.test_pool import Sender, delivered
from tests.deliver.world import ADDRESS, BODY, OPTIONS, MemoryDialer, Server

OFFERED = ("PIPELINING", "CHUNKING", "8BITMIME")


def words(server: Server) -> list[str]:
    return [line.partition(" ")[0] for line in server.clear]


async def test_content_goes_by_bdat_where_chunking_is_offered(dialer: MemoryDialer) -> None:
    server = dialer.handlers[ADDRESS] = Server(extensions=OFFERED)
    sender = Sender(dialer)
    assert [delivered(await sender.send()) for _ in range(2)] == [True, True]
    assert server.messages == [BODY, BODY]
    assert words(server).count("BDAT") == 2
    assert "DATA" not in words(server)


async def test_it_can_be_switched_off(dialer: MemoryDialer) -> None:
    server = dialer.handlers[ADDRESS] = Server(extensions=OFFERED)
    assert delivered(await Sender(dialer, options=replace(OPTIONS, ignore_ehlo=frozenset({"CHUNKING"}))).send())
    assert "BDAT" not in words(server)


@pytest.mark.parametrize("refusal", [b"500 5.5.1 Command unrecognized\r\n", b"502 5.5.1 no\r\n", b"503 5.5.1 no\r\n"])
@pytest.mark.parametrize("early", [True, False])
async def test_a_server_that_offers_chunking_and_does_not_know_bdat_gets_data_in_a_new_session(
    dialer: MemoryDialer, refusal: bytes, early: bool
) -> None:
    """It is no answer to the message, and nobody knows what became of the octets: that session is over."""
    extensions = OFFERED if early else OFFERED[1:]
    server = dialer.handlers[ADDRESS] = Server(extensions=extensions, answers={"BDAT": [refusal]})
    sender = Sender(dialer)
    assert delivered(await sender.send())
    assert server.messages == [BODY]
    assert dialer.dialled == [ADDRESS, ADDRESS]
    assert delivered(await sender.send())
    assert words(server).count("BDAT") == 1, "it is remembered"


async def test_bdat_is_given_up_once_in_an_attempt_and_data_may_be_refused(dialer: MemoryDialer) -> None:
    no = b"500 5.5.1 no\r\n"
    server = dialer.handlers[ADDRESS] = Server(extensions=OFFERED, answers={"BDAT": [no], "DATA": [no]})
    made = await Sender(dialer).send()
    assert [outcome.kind for outcome in made.outcomes] == [OutcomeKind.FAILED]
    assert dialer.dialled == [ADDRESS, ADDRESS]
    assert server.messages == []


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"554 5.7.1 spam\r\n", OutcomeKind.FAILED),
        (b"552 5.3.4 too large\r\n", OutcomeKind.FAILED),
        (b"451 4.3.0 later\r\n", OutcomeKind.DEFERRED),
    ],
)
async def test_an_answer_to_the_message_is_one_whether_by_data_or_by_bdat(
    dialer: MemoryDialer, answer: bytes, kind: OutcomeKind
) -> None:
    dialer.handlers[ADDRESS] = Server(extensions=OFFERED, answers={"BDAT": [answer]})
    made = await Sender(dialer).send()
    assert [outcome.kind for outcome in made.outcomes] == [kind]


async def test_a_connection_that_ends_after_the_last_chunk_leaves_a_doubt(dialer: MemoryDialer) -> None:
    dialer.handlers[ADDRESS] = Server(extensions=OFFERED, answers={"BDAT": [b""]})
    made = await Sender(dialer).send()
    assert [(outcome.kind, outcome.in_doubt) for outcome in made.outcomes] == [(OutcomeKind.DEFERRED, True)]
