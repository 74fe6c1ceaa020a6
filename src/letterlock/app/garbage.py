"""When Python's cycle collector runs: while there is time to spare.

The objects of a server end by their reference counts, and the collector hardly ever finds anything; but it looks
through all objects that are new, each time that so many more have come. When mail goes to a thousand hosts, what is
new is a thousand sessions and answers, which stay: looking through them took 4.5 % of the CPU time, in pauses of up to
48 ms. So under load it waits until there are MOST_YOUNG_OBJECTS, and runs once the process idles: one longer pause.
"""

import asyncio
import gc

from letterlock.spare_time import SpareTime

TICK_SECONDS = 1.0  # chosen: nothing grows much within one, and an idle process wakes up as often anyway
YOUNG_OBJECTS = 10_000  # at idle: looking through them takes ten milliseconds at most
MOST_YOUNG_OBJECTS = 200_000  # chosen: 20 to 30 MB, if all were garbage; a pause of 65 to 200 ms, calm or busy
OLDER = 5  # collections of the young after which those that survived them are looked through, too
OLDEST = 2_000  # the same for everything; it walks a whole cache while everybody waits


def spare_collector() -> None:
    """Let the cycle collector leave alone what is there and stays, and look through the rest seldom.

    It writes to each object that it looks at, and would so copy pages that workers share.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(MOST_YOUNG_OBJECTS, OLDER, OLDEST)


def generation_due(counts: tuple[int, int, int]) -> int | None:
    """Which generation to collect where there is time; None: none now. `counts` are those of gc.get_count."""
    young, older, oldest = counts
    if young < YOUNG_OBJECTS:
        return None
    if older < OLDER:
        return 0
    return 1 if oldest < OLDEST else 2


async def collect_in_spare_time() -> None:
    """Look once a second whether there is time; until cancelled."""
    spare_time = SpareTime()
    while True:
        await asyncio.sleep(TICK_SECONDS)
        if spare_time.is_there() and (generation := generation_due(gc.get_count())) is not None:
            gc.collect(generation)
