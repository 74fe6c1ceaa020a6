"""What one delivery passes through: functions, files, and moves from one file to another.

    .venv/bin/python -m bench.passage

A message goes to one host that is authenticated by DANE, over a new session, from the first look-up to the last reply.
Only calls into the package are counted; a move is a call from one of its files into another.
"""

import asyncio
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import FrameType

from tests.certificates import authority
from tests.deliver.world import (
    ADDRESS,
    BODY,
    OPTIONS,
    HandDiscoverer,
    MemoryDialer,
    Server,
    answer,
    dane_ee,
    make_ports,
    make_task,
)

import letterlock
from letterlock.deliver.attempt import attempt
from letterlock.net.tls import ServerContext
from letterlock.queue.tasks import Attempt, OutcomeKind
from letterlock.resolver.answer import Security

HOME = str(Path(letterlock.__file__).parent)


class Passage:
    """Counts calls into the package while it is `sys.setprofile`'s function."""

    def __init__(self) -> None:
        self.functions: set[tuple[str, str]] = set()
        self.moves: Counter[tuple[str, str]] = Counter()

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:  # noqa: ARG002  # the interpreter's form
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(HOME) or code.co_name == "<module>":
            return
        self.functions.add((code.co_filename, code.co_qualname))
        caller = frame.f_back
        if caller is not None and caller.f_code.co_filename.startswith(HOME):
            origin = caller.f_code.co_filename
            if origin != code.co_filename:
                self.moves[origin, code.co_filename] += 1

    @property
    def files(self) -> set[str]:
        """The files that were entered."""
        return {file for file, _ in self.functions}


async def deliver(passage: Passage) -> Attempt:
    """One message, watched."""
    credential = authority().leaf("mx.example.org")
    dialer = MemoryDialer()
    with tempfile.TemporaryDirectory() as directory:
        context = ServerContext.load(*credential.write(Path(directory)))
    dialer.handlers[ADDRESS] = Server(context)
    tlsa = answer("_25._tcp.mx.example.org", "TLSA", dane_ee(credential), security=Security.SECURE)
    ports = make_ports(dialer, HandDiscoverer(tlsa={"mx.example.org": tlsa}))
    sys.setprofile(passage)
    try:
        return await attempt(make_task(), BODY, ports=ports, options=OPTIONS)
    finally:
        sys.setprofile(None)
        await dialer.aclose()


def main() -> int:
    """Print the figures."""
    passage = Passage()
    made = asyncio.run(deliver(passage))
    if [outcome.kind for outcome in made.outcomes] != [OutcomeKind.DELIVERED]:
        print("the message was not delivered", file=sys.stderr)
        return 1
    print(
        f"{len(passage.functions)} functions, {len(passage.files)} files, {passage.moves.total()} moves between files"
    )
    for file in sorted(passage.files):
        print(f"  {Path(file).relative_to(HOME)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
