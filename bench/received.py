"""What a message costs the receiving side: calls into the package, which do not depend on what else the machine does.

    .venv/bin/python -m bench.received [--messages 300]

A client on loopback, which may relay, sends one message after the other over one connection, to a listener with the
store of the tests. The parts are the usual listener, and what issue 19 brought, each alone: what is off costs nothing,
and what is on costs what is shown. Compare the first figure between versions.
"""

import argparse
import asyncio
import sys
from collections.abc import Mapping
from dataclasses import replace
from types import FrameType

from tests.receive.world import Client, world

from bench.passage import HOME
from letterlock.receive.options import ReceiveOptions
from letterlock.receive.profiles import Profile

WARM_UP = 20  # messages, before which caches are empty
USUAL = ReceiveOptions(hostname="mx.example.org")
MESSAGE = b"Subject: hello\r\nFrom: <ann@example.org>\r\n\r\n" + b"hello\r\n" * 500  # 4 KB, as in bench.relay


class Calls:
    """Counts calls into the package, while it is `sys.setprofile`'s function."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(HOME):
            self.count += 1


async def send(client: Client, number: int) -> None:
    """One message, as a client with PIPELINING sends it."""
    await client.ask(b"MAIL FROM:<ann@example.org>\r\n")
    await client.ask(b"RCPT TO:<bob%d@example.net>\r\n" % number)
    await client.ask(b"DATA\r\n")
    reply = await client.ask(MESSAGE + b".\r\n")
    assert reply.startswith(b"250"), reply


async def calls_of(options: ReceiveOptions, profile: Profile, messages: int) -> float:
    """Calls per message."""
    calls = Calls()
    async with world(options, profile) as running, running.client() as client:
        await client.reply()
        await client.ask(b"EHLO client.example\r\n")
        for number in range(WARM_UP):
            await send(client, number)
        sys.setprofile(calls)
        try:
            for number in range(messages):
                await send(client, number)
        finally:
            sys.setprofile(None)
    return calls.count / messages


def parts() -> Mapping[str, tuple[ReceiveOptions, Profile]]:
    """The usual listener and, where this version has them, the others."""
    found = {"usual": (USUAL, Profile())}
    try:
        from letterlock.receive.recipient_rules import AddressPatterns, RecipientRule, RuleAction  # noqa: PLC0415
    except ImportError:  # an older version, for comparison
        return found
    spam = RecipientRule(source="", action=RuleAction.REJECT, senders=AddressPatterns(domains=("spam.example",)))
    found["one [[rule]]"] = replace(USUAL, recipient_rules=(spam,)), Profile()
    found["twenty [[rule]]s"] = replace(USUAL, recipient_rules=(spam,) * 20), Profile()
    return found


def main() -> None:
    """Print a line for each part."""
    parser = argparse.ArgumentParser(description="What a message costs the receiving side.")
    parser.add_argument("--messages", type=int, default=300)
    messages = parser.parse_args().messages
    for name, (options, profile) in parts().items():
        print(f"{name:18} {asyncio.run(calls_of(options, profile, messages)):7.1f} calls into the package per message")


if __name__ == "__main__":
    main()
