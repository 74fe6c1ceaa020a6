"""A queue with very many messages, put there through the store's own `accept`, as a server would."""

import asyncio
import random
import time
from collections.abc import Sequence
from pathlib import Path

from bench.relay_source import content
from letterlock.mail.addresses import Mailbox, parse_mailbox
from letterlock.mail.envelope import Envelope
from letterlock.queue.ids import IdMaker
from letterlock.store.sqlite.sqlite_store import SqliteStore

GROUP = 500  # messages that are accepted together
LIFETIME_SECONDS = 5 * 86_400.0


async def fill(directory: Path, *, messages: int, octets: int, next_hops: Sequence[str], due_at: float) -> float:
    """Accept messages that are due at `due_at` (seconds since 1970), next hops in turn; how many seconds it took."""
    start = time.monotonic()
    store = await SqliteStore.open(directory)
    new_id = IdMaker(time.time, random.SystemRandom().getrandbits)
    sender = parse_mailbox("ann@source.test")
    recipients = [parse_mailbox(f"bob@[{next_hop}]") for next_hop in next_hops]
    try:
        for first in range(0, messages, GROUP):
            numbers = range(first, min(first + GROUP, messages))
            await asyncio.gather(
                *(
                    _accept(store, new_id(), sender, recipients[number % len(recipients)], number, octets, due_at)
                    for number in numbers
                )
            )
    finally:
        await store.close()
    return time.monotonic() - start


async def _accept(
    store: SqliteStore, message_id: str, sender: Mailbox, recipient: Mailbox, number: int, octets: int, due_at: float
) -> None:
    body = content(number, octets).removesuffix(b".\r\n")
    now = time.time()
    envelope = Envelope(
        id=message_id,
        reverse_path=sender,
        recipients=(recipient,),
        size=len(body),
        accepted_at=now,
        expires_at=now + LIFETIME_SECONDS,
    )
    await store.accept(envelope, body, next_attempt_at=due_at)
