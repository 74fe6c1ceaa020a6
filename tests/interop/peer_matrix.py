"""Every attack of the lab against several mail servers; writes docs/concepts/attack-matrix.md and its picture.

    python -m tests.interop.peer_matrix --attack self-signed   # one attack, printed
    python -m tests.interop.peer_matrix --write                # all of them, and the page

Runs as root, with Postfix and Unbound installed, and Exim and OpenSMTPD unpacked (tools/debian-packages). It makes a
network and a mount namespace of its own, in which the boxes have port 25, and ends with all that it started.
"""

import argparse
import asyncio
import datetime as dt
import json
import os
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from letterlock.lab.arsenal import ARSENAL
from letterlock.lab.scenarios import Attack, SiteProtection
from letterlock.lab.subject import ObservedState, Subject
from tests.interop.companion_box import Fate, Lined, Setup, Threads, in_threads, lined_up, submit
from tests.interop.peer_page import PAGE, PICTURE, Found, Measured, Server, page, picture
from tests.interop.programs import find
from tests.interop.sending_peers import Decided, SendingPeer, exim_alone, opensmtpd_alone, postfix_alone, versions

_INSIDE = "LETTERLOCK_PEER_MATRIX"  # set in the namespaces that this script makes
_SMTP_PORT = 25  # OpenSMTPD sends to no other by MX
_DECIDE_SECONDS = 60.0  # chosen: a server tries three addresses at most, each with a deadline of its own
_PEER_SECONDS = 20.0  # chosen: after that a message that is neither sent nor returned waits in its server's queue
_POLL_SECONDS = 0.1
_POLLS = int(_PEER_SECONDS / _POLL_SECONDS)
_PEERS = {Server.POSTFIX: postfix_alone, Server.EXIM: exim_alone, Server.OPENSMTPD: opensmtpd_alone}
_DOORS = {
    Server.STAND_IN: Setup.STAND_IN,
    Server.RESOLVER_DOOR: Setup.RESOLVER,
    Server.POLICY_DOOR: Setup.POLICY,
    Server.RELAY_DOOR: Setup.RELAY,
    Server.ALL_DOORS: Setup.ALL,
}
# What these hold at the attacker's own host, Exim's hints would let no other message try there for a while.
_LAST = (SiteProtection.VERIFY, SiteProtection.OWN_CA)
OURS_ALONE = (SiteProtection.REQUIRETLS, SiteProtection.MEMORY)  # nobody else has them
_SAID = {Decided.DEFERRED: Fate.HELD, Decided.OPEN: Fate.HELD, Decided.BOUNCED: Fate.RETURNED}


@dataclass(frozen=True, slots=True)
class _Sent:
    """One message on its way."""

    server: Server
    protection: SiteProtection
    secret: bytes
    said: Fate


async def measure(attack: Attack, servers: Sequence[Server], protections: Sequence[SiteProtection]) -> Found:
    """One attack against every server and protection."""
    setups = tuple(setup for server, setup in _DOORS.items() if server in servers)
    async with lined_up(attack, setups, port=_SMTP_PORT) as lined, in_threads() as threads:
        field = _Field(lined, threads, {})
        sending = (field.send_all(server, protections) for server in servers)
        sent = [each for one in await asyncio.gather(*sending) for each in one]
        # What was held may have been tried again meanwhile: the mailboxes have the last word.
        return {(each.server, each.protection): lined.became(each.protection, each.secret, each.said) for each in sent}


@dataclass(slots=True)
class _Field:
    """A box, and the servers that were started for it."""

    lined: Lined
    threads: Threads
    running: dict[Server, SendingPeer]
    started: int = 0

    async def send_all(self, server: Server, protections: Sequence[SiteProtection]) -> list[_Sent]:
        """A message for each protection through one server, one after the other."""
        sent = []
        for protection in sorted(protections, key=_LAST.__contains__):
            if protection in OURS_ALONE and server is not Server.LETTERLOCK:
                continue
            for _ in range(1 + ARSENAL[self.lined.box.attack].twice):
                secret = f"{random.getrandbits(128):032x}"
                said = await self._send(server, protection, secret)
            sent.append(_Sent(server, protection, secret.encode(), said))
        return sent

    async def _send(self, server: Server, protection: SiteProtection, secret: str) -> Fate:
        if server in _DOORS:
            return await self.lined.fate(_DOORS[server], protection, secret)
        recipient = f"r{secret[:12]}@{self.lined.box.world.sites[protection].domain}"
        if server is Server.LETTERLOCK:
            return await _by_us(self.lined.subject, recipient, secret, protection)
        peer = await self._peer(server)
        await asyncio.to_thread(submit, peer.place, recipient, secret)
        said = _SAID.get(await _decided(peer, recipient), Fate.UNDECIDED)
        return Fate.CRASHED if peer.has_ended() else said

    async def _peer(self, server: Server) -> SendingPeer:
        """The running server; one that has ended is started anew, with an empty queue."""
        if server not in self.running or self.running[server].has_ended():
            self.started += 1
            home = self.lined.home / f"{server.name.lower()}-{self.started}"
            context = _PEERS[server](self.lined.box, home, self.lined.unbound)
            self.running[server] = await self.threads.start(context)
        return self.running[server]


async def _decided(peer: SendingPeer, recipient: str) -> Decided:
    """What the log says in the end; it is a file, which nobody announces."""
    for _ in range(_POLLS):
        decided = peer.decided(recipient)
        if decided is not Decided.OPEN or peer.has_ended():
            return decided
        await asyncio.sleep(_POLL_SECONDS)
    return Decided.OPEN


async def _by_us(subject: Subject, recipient: str, secret: str, protection: SiteProtection) -> Fate:
    message_id = await subject.submit(recipient, secret, requiretls=protection is SiteProtection.REQUIRETLS)
    record = await subject.record_of(message_id, recipient, timeout_seconds=_DECIDE_SECONDS)
    held = record is not None and record.state is ObservedState.DEFERRED
    return Fate.HELD if held else Fate.UNDECIDED


def everything(attacks: Sequence[Attack], servers: Sequence[Server], kept: Path | None) -> Measured:
    """All attacks, one after the other. `kept`: what was measured goes there after each, and is not measured again."""
    measured = _recalled(kept)
    for attack in attacks:
        if attack in measured:
            continue
        began = time.monotonic()
        measured[attack] = asyncio.run(measure(attack, servers, tuple(SiteProtection)))
        if kept is not None:
            kept.write_text(_as_json(measured))
        read = {
            server: sum(_is_read(fate, server, each) for each, fate in measured[attack].items()) for server in servers
        }
        told = ", ".join(f"{server.name.lower()} {count}" for server, count in read.items())
        print(f"{attack}: {time.monotonic() - began:.0f} s; read: {told}", flush=True)
    return measured


def _is_read(fate: Fate, server: Server, cell: tuple[Server, SiteProtection]) -> bool:
    return cell[0] is server and fate is Fate.READ


def _as_json(measured: Measured) -> str:
    return json.dumps(
        {attack: {" ".join(cell): fate.name for cell, fate in f.items()} for attack, f in measured.items()}
    )


def _recalled(kept: Path | None) -> Measured:
    if kept is None or not kept.exists():
        return {}
    found: Measured = {}
    for attack, fates in json.loads(kept.read_text()).items():
        found[Attack(attack)] = {
            (Server(cell.rsplit(" ", 1)[0]), SiteProtection(cell.rsplit(" ", 1)[1])): Fate[fate]
            for cell, fate in fates.items()
        }
    return found


def _enter_namespaces() -> None:
    """Start again in a network of our own, with an address that is not loopback's, and mounts and processes of our own.

    However this ends, all that it started ends with it: the kernel kills them.
    """
    if os.environ.get(_INSIDE):
        return
    script = 'ip link set lo up && ip addr add 192.0.2.1/32 dev lo && exec "$@"'  # RFC 5737: nobody's
    apart = ("--net", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc")
    shell = [find("unshare"), *apart, "sh", "-c", script, "sh"]
    os.environ[_INSIDE] = "1"
    command = [*shell, sys.executable, "-m", "tests.interop.peer_matrix", *sys.argv[1:]]
    os.execv(command[0], command)  # noqa: S606  # the same program again; a shell would only read the words once more


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the page and its picture")
    parser.add_argument("--attack", choices=list(Attack), action="append", help="this one only; may be repeated")
    parser.add_argument(
        "--server", choices=[each.name.lower() for each in Server], action="append", help="this one only"
    )
    parser.add_argument(
        "--keep", type=Path, help="file for what was measured; a run that was broken off goes on from it"
    )
    given = parser.parse_args()
    _enter_namespaces()
    servers = [each for each in Server if not given.server or each.name.lower() in given.server]
    attacks = [Attack(each) for each in given.attack or Attack]
    began = time.monotonic()
    measured = everything(attacks, servers, given.keep)
    print(f"{sum(map(len, measured.values()))} messages in {time.monotonic() - began:.0f} s")
    if given.attack:
        for attack in attacks:
            for cell, fate in measured[attack].items():
                print(f"{attack}  {' / '.join(cell)}: {fate}")
    if given.write:
        PAGE.write_text(page(measured, versions(), dt.datetime.now(dt.UTC).date()))
        PICTURE.write_text(picture(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
