"""A small message goes out with its envelope; what then may be in doubt, and what never is."""

from dataclasses import replace

import pytest

from letterlock.deliver.transaction import MAX_EARLY_OCTETS
from letterlock.queue.tasks import Attempt, OutcomeKind
from tests.deliver.test_attempt import TWO_HOSTS, make
from tests.deliver.test_pool import Sender, delivered
from tests.deliver.world import ADDRESS, ANN, BOB, BODY, HASTY, OPTIONS, HandDiscoverer, MemoryDialer, Server

OFFERED = ("PIPELINING", "CHUNKING", "8BITMIME")
SECOND = "192.0.2.2"


def told(made: Attempt) -> list[tuple[OutcomeKind, bool]]:
    return [(outcome.kind, outcome.in_doubt) for outcome in made.outcomes]


def blocks(dialer: MemoryDialer) -> bytes:
    return bytes(dialer.clients[0].written)


async def test_the_content_follows_the_envelope_before_any_answer(dialer: MemoryDialer) -> None:
    server = dialer.handlers[ADDRESS] = Server(extensions=OFFERED, answers={"MAIL": [b""]})
    await make(dialer)
    assert BODY in blocks(dialer)
    assert server.messages == []


@pytest.mark.parametrize("octets", [MAX_EARLY_OCTETS, MAX_EARLY_OCTETS + 1])
async def test_a_large_message_waits_for_a_recipient(dialer: MemoryDialer, octets: int) -> None:
    body = (b"x" * 62 + b"\r\n") * (MAX_EARLY_OCTETS // 64)
    body = body[: MAX_EARLY_OCTETS - 2] + b"x" * (octets - MAX_EARLY_OCTETS) + b"\r\n"
    dialer.handlers[ADDRESS] = Server(extensions=OFFERED, answers={"RCPT": [b"550 5.1.1 no\r\n"]})
    made = await make(dialer, body=body)
    assert told(made) == [(OutcomeKind.FAILED, False)]
    assert (b"BDAT" in blocks(dialer)) == (octets <= MAX_EARLY_OCTETS)


async def test_the_second_message_of_a_session_waits_for_its_envelope(dialer: MemoryDialer) -> None:
    server = dialer.handlers[ADDRESS] = Server(
        extensions=OFFERED, answers={"RCPT": [b"250 ok\r\n", b"550 5.1.1 no\r\n"]}
    )
    sender = Sender(dialer)
    assert delivered(await sender.send())
    assert told(await sender.send()) == [(OutcomeKind.FAILED, False)]
    assert dialer.dialled == [ADDRESS]
    assert [line[:4] for line in server.clear].count("BDAT") == 1
    await sender.pool.close()


@pytest.mark.parametrize(
    ("answers", "kinds"),
    [
        ({"RCPT": [b"250 ok\r\n", b"550 5.1.1 no\r\n"]}, [OutcomeKind.DELIVERED, OutcomeKind.FAILED]),
        ({"RCPT": [b"550 5.1.1 no\r\n"], "BDAT": [b"503 5.5.1 RCPT first\r\n"]}, [OutcomeKind.FAILED] * 2),
        ({"RCPT": [b"450 4.2.0 grey\r\n"], "BDAT": [b"554 5.5.1 RCPT first\r\n"]}, [OutcomeKind.DEFERRED] * 2),
        (
            {"MAIL": [b"550 5.7.1 you\r\n"], "RCPT": [b"503 no\r\n"], "BDAT": [b"503 no\r\n"]},
            [OutcomeKind.FAILED] * 2,
        ),
    ],
)
async def test_refusals_in_the_envelope_are_what_counts(
    dialer: MemoryDialer, answers: dict[str, list[bytes]], kinds: list[OutcomeKind]
) -> None:
    dialer.handlers[ADDRESS] = Server(extensions=OFFERED, answers=answers)
    made = await make(dialer, None, ANN, BOB)
    assert told(made) == [(kind, False) for kind in kinds]
    assert dialer.dialled == [ADDRESS], "503 is no word against BDAT here"


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "BDAT"])
async def test_a_connection_that_ends_before_the_answers_leaves_a_doubt(dialer: MemoryDialer, step: str) -> None:
    dialer.handlers[ADDRESS] = Server(extensions=OFFERED, answers={step: [b""]})
    assert told(await make(dialer)) == [(OutcomeKind.DEFERRED, True)]


@pytest.mark.parametrize("step", ["MAIL", "RCPT"])
async def test_after_such_a_doubt_the_envelope_goes_first_and_another_host_is_tried(
    dialer: MemoryDialer, step: str
) -> None:
    dialer.handlers[ADDRESS] = Server(extensions=OFFERED, answers={step: [b""]})
    second = dialer.handlers[SECOND] = Server(extensions=OFFERED)
    sender = Sender(dialer, HandDiscoverer(TWO_HOSTS))
    assert told(await sender.send()) == [(OutcomeKind.DEFERRED, True)]
    assert second.messages == [], "it may have arrived"
    assert delivered(await sender.send())
    assert second.messages == [BODY]
    await sender.pool.close()


@pytest.mark.parametrize("step", ["MAIL", "RCPT"])
async def test_421_in_the_envelope_is_an_answer_and_leaves_no_doubt(dialer: MemoryDialer, step: str) -> None:
    dialer.handlers[ADDRESS] = Server(extensions=OFFERED, answers={step: [b"421 4.3.2 closing\r\n"]})
    second = dialer.handlers[SECOND] = Server(extensions=OFFERED)
    made = await make(dialer, HandDiscoverer(TWO_HOSTS))
    assert told(made) == [(OutcomeKind.DELIVERED, False)]
    assert second.messages == [BODY]


async def test_an_early_message_has_the_time_of_a_message_to_be_answered(dialer: MemoryDialer) -> None:
    """A server may look into the message before it sends any answer."""
    timeouts = replace(HASTY.timeouts, mail=0.0, recipient=0.0, message=5.0)
    dialer.handlers[ADDRESS] = Server(extensions=OFFERED)
    assert delivered(await Sender(dialer, options=replace(OPTIONS, timeouts=timeouts)).send())
