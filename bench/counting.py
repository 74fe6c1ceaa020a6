"""What counting costs per message, and measuring per second: python -m bench.counting

The observer is shown the message and the attempt of the usual case, delivered over a session that was kept, as the
relay shows them; beside it, everything that happens once a second. Compare with the relay's own time per message
(`python -m bench.relay`), or pass it: --message-us 300.
"""

import argparse
import statistics
import time
from collections.abc import Callable

from letterlock.mail.addresses import Mailbox
from letterlock.mail.envelope import Envelope
from letterlock.metrics.catalogue import LAYOUT
from letterlock.metrics.counting import Counting
from letterlock.metrics.exposition import exposition
from letterlock.metrics.numbers import Board, Numbers
from letterlock.policy.decision import Achieved, Encryption, Level, Requirement
from letterlock.queue.observing import Arrival
from letterlock.queue.sessions import SessionTried
from letterlock.queue.tasks import Attempt, DeliveryTask, Lease, OutcomeKind, RecipientOutcome

ROUNDS, REPEATS = 7, 20_000
ANN = Mailbox("ann", "example.org")


def microseconds(work: Callable[[], object], repeats: int) -> float:
    """The least time of some rounds: what others on the machine take is no part of it."""
    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(repeats):
            work()
        rounds.append((time.perf_counter() - began) / repeats * 1e6)
    return min(rounds)


def usual_case() -> tuple[Envelope, Arrival, DeliveryTask, Attempt]:
    """A message, and its delivery over a kept session."""
    envelope = Envelope(id="4F2A1", reverse_path=ANN, recipients=(ANN,), size=4096, accepted_at=1.0, expires_at=9.0)
    task = DeliveryTask(lease=Lease("t", "4F2A1", "example.org", 9.0), envelope=envelope, recipients=(ANN,), attempts=0)
    required = Requirement(encryption=Encryption.OPTIONAL, authentication=None, sni=None, fallback=None, reasons=())
    session = SessionTried("mx.example.org", "192.0.2.1", 25, required, 1.0, 1.1, reused=True)
    attempt = Attempt(
        message_id="4F2A1",
        next_hop="example.org",
        started_at=1.0,
        ended_at=1.5,
        outcomes=(RecipientOutcome(recipient=ANN, kind=OutcomeKind.DELIVERED, status="2.0.0", text="ok"),),
        host="mx.example.org",
        address="192.0.2.1",
        port=25,
        achieved=Achieved(level=Level.ENCRYPTED),
        sessions=(session,),
    )
    return envelope, Arrival(client="x[192.0.2.7]", protocol="ESMTPS"), task, attempt


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--message-us", type=float, help="what the relay takes per message, in microseconds")
    relay = parser.parse_args().message_us
    numbers = Numbers(LAYOUT, Board(LAYOUT.size))
    counting = Counting(numbers)
    envelope, arrival, task, attempt = usual_case()

    def message() -> None:
        counting.received(envelope, arrival)
        counting.attempted(task, attempt)

    per_message = microseconds(message, REPEATS)
    per_second = microseconds(numbers.share, REPEATS // 10)
    scrape = statistics.median(microseconds(lambda: exposition(LAYOUT, numbers.values, ()), 20) for _ in range(3))
    print(f"counting a message      {per_message:8.2f} us")
    print(f"sharing, once a second  {per_second:8.2f} us")
    print(f"one scrape              {scrape:8.0f} us")
    if relay:
        print(f"of the relay            {100 * per_message / relay:8.2f} %")


if __name__ == "__main__":
    main()
