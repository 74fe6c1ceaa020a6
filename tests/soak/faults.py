"""What a receiving server can do wrong, and where: seeded, and each kind at each step in its turn."""

import random
import threading
from collections import Counter
from enum import StrEnum


class Step(StrEnum):
    """Where in the protocol."""

    CONNECT = "connect"
    GREETING = "greeting"
    EHLO = "EHLO"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    CONTENT = "content"
    DOT = "dot"


class Kind(StrEnum):
    """What it does there instead of its duty."""

    STALL = "stalls"  # longer than the client waits, then goes on
    RESET = "resets"
    CLOSE = "closes"
    HALF = "half a reply"  # and closes
    GARBAGE = "garbage"
    WRONG = "wrong code"
    TEMPORARY = "4yz"
    PERMANENT = "5yz"


_SILENT = (Kind.STALL, Kind.RESET, Kind.CLOSE)
_KINDS = {step: tuple(Kind) for step in Step} | {Step.CONNECT: _SILENT, Step.CONTENT: (*_SILENT, Kind.GARBAGE)}
_WRONG = {Step.GREETING: b"250", Step.DATA: b"250"}  # elsewhere 354
_GARBAGE = (b"\x00\xff\xfe\r\n", b"banana\r\n", b"25 almost\r\n", b"-250-250 \r\n", b"\r\n", b"x" * 3000 + b"\r\n")


class Mischief:
    """Decides when something goes wrong, at most once in `1/rate` steps. `counts`: what has been done."""

    def __init__(self, seed: int, rate: float) -> None:
        self.rate = rate
        self.counts: Counter[tuple[Step, Kind]] = Counter()
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        self._decks: dict[Step, list[Kind]] = {step: [] for step in Step}

    def choose(self, step: Step, *, may_fail: bool) -> Kind | None:
        """What to do wrong now, if anything; without `may_fail` nothing that makes a message undeliverable."""
        with self._lock:
            if self._chance.random() >= self.rate:
                return None
            if not (deck := self._decks[step]):
                deck += self._chance.sample(_KINDS[step], len(_KINDS[step]))
            possible = [kind for kind in deck if may_fail or kind is not Kind.PERMANENT]
            if not possible:
                return None
            seen = {kind for _, kind in self.counts}
            kind = next((each for each in possible if each not in seen), possible[-1])  # a short run has each kind, too
            deck.remove(kind)
            self.counts[step, kind] += 1
            return kind

    def keeps(self) -> bool:
        """Whether a server that breaks off after the final dot has kept the message."""
        with self._lock:
            return self._chance.random() < 0.5

    def reply(self, step: Step, kind: Kind, good: bytes) -> bytes:
        """What it says instead of a good reply."""
        match kind:
            case Kind.HALF:
                return good[: max(1, len(good) // 2)]
            case Kind.GARBAGE:
                with self._lock:
                    return self._chance.choice(_GARBAGE)
            case Kind.WRONG:
                return _WRONG.get(step, b"354") + b" what was the question\r\n"
            case Kind.TEMPORARY:
                return b"451 4.3.0 not at this moment\r\n"
            case Kind.PERMANENT:
                return b"554 5.6.0 the soak does not want it\r\n"
        return good


def every_fault() -> set[tuple[Step, Kind]]:
    """All that can go wrong."""
    return {(step, kind) for step, kinds in _KINDS.items() for kind in kinds}
