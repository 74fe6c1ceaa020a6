"""The internet around a machine of tests/operations: DNS that is signed from the root down, and a mail server.

    python -m tests.operations.world DIRECTORY

Serves on 192.0.2.0/24 and 127.0.0.1, in a network of its own. Files in DIRECTORY switch disasters on, as long as they
are there: `no-dns` (nobody answers), `no-distant-dns` (only 127.0.0.1 does), `ahead` (all signatures are of next
month). Mail is kept in DIRECTORY/mail.
"""

import asyncio
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.message
from dns.rdatatype import RdataType

from letterlock.lab.authority import Validity, ZoneKey
from letterlock.lab.dns_server import Answerer, serving
from letterlock.lab.issuing import Credential, make_self_signed
from letterlock.lab.mail_server import MailServer
from letterlock.lab.namespace import NameSpace
from letterlock.lab.raw_smtp import Wire, listening
from letterlock.lab.zones import Zone

RESOLVERS = ("127.0.0.1", "192.0.2.53")  # on this machine, and a distant one
STRIPPING = "192.0.2.1"  # a home router, which strips signatures
MX_ADDRESS = "192.0.2.15"
POLL_SECONDS = 0.05
MONTH = 30 * 86_400


def make_names(keys: dict[str, ZoneKey], credential: Credential, now: float) -> NameSpace:
    """All zones, signed as of a moment."""
    zones = {name: Zone(name, key=keys[name]) for name in keys}
    for child, parent in (("net.", "."), ("org.", "."), ("example.net.", "net."), ("example.org.", "org.")):
        if child == "example.net.":
            zones[child].add("@", "MX", "10 mx")
            zones[child].add("mx", "A", MX_ADDRESS)
            zones[child].add("_25._tcp.mx", "TLSA", credential.tlsa_end_entity())
        if child == "example.org.":
            zones[child].add("relay", "A", "127.0.0.1")
        zones[parent].delegate(zones[child])
    for zone in zones.values():
        zone.publish(Validity.around(now))
    return NameSpace([*zones.values()])


class Internet:
    """What answers, and whether."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._credential = make_self_signed("mx.example.net")
        keys = {name: ZoneKey.make() for name in (".", "net.", "org.", "example.net.", "example.org.")}
        self._now = make_names(keys, self._credential, time.time())
        self._ahead = make_names(keys, self._credential, time.time() + MONTH)
        self._mail = MailServer("mx.example.net", self._credential.server_context(directory))

    def answer(self, query: dns.message.Message) -> dns.message.Message:
        """What DNS says now."""
        return (self._ahead if (self._directory / "ahead").exists() else self._now).answer(query)

    def strip(self, query: dns.message.Message) -> dns.message.Message:
        """The same without signatures and proofs."""
        answer = self.answer(query)
        for section in (answer.answer, answer.authority):
            section[:] = [each for each in section if each.rdtype not in (RdataType.RRSIG, RdataType.NSEC)]
        return answer

    async def take(self, wire: Wire) -> None:
        """One session of the mail server; what it took is a file."""
        before = len(self._mail.mailbox)
        try:
            await self._mail.talk(wire)
        finally:
            for number, taken in enumerate(self._mail.mailbox[before:], before):
                (self._directory / "mail" / f"{number}.eml").write_bytes(taken.content)

    async def run(self) -> None:
        """Serve until it is killed."""
        with _listening_at(MX_ADDRESS, 25) as made:
            async with listening(made, self.take):
                (self._directory / "root.ds").write_text(self._now.anchor())
                everywhere, distant = self._directory / "no-dns", self._directory / "no-distant-dns"
                await asyncio.gather(
                    self._keep_answering(RESOLVERS[1], self.answer, everywhere, distant),
                    self._keep_answering(STRIPPING, self.strip, everywhere, distant),
                    self._keep_answering(RESOLVERS[0], self.answer, everywhere, ready=self._directory / "dns-ready"),
                )

    async def _keep_answering(
        self, address: str, answer: Answerer, *disasters: Path, ready: Path | None = None
    ) -> None:
        """Answer on an address, unless a disaster has happened."""
        while True:
            async with serving(address, answer, port=53):
                _mark(ready, there=True)
                while not _any(disasters):  # noqa: ASYNC110  # a shell makes the file
                    await asyncio.sleep(POLL_SECONDS)
            _mark(ready, there=False)
            while _any(disasters):  # noqa: ASYNC110  # the same
                await asyncio.sleep(POLL_SECONDS)


def _any(paths: Iterable[Path]) -> bool:
    return any(each.exists() for each in paths)


def _mark(path: Path | None, *, there: bool) -> None:
    if path is not None:
        path.touch() if there else path.unlink()


@contextmanager
def _listening_at(address: str, port: int) -> Iterator[socket.socket]:
    with socket.socket() as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, port))
        made.listen()
        yield made


if __name__ == "__main__":
    asyncio.run(Internet(Path(sys.argv[1])).run())
