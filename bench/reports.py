"""Roll a day of sessions up for TLS reports, as the server does: `python -m bench.reports [--sessions N]`.

Sessions to many domains, half of them with an MTA-STS policy and half without, one in twenty failing, go through the
observer that the server has, and into the database every 50,000. Then the reports of the day are made and read back.
Prints CPU and wall seconds and the memory that was taken; fails beyond 10 s of wall time for the roll-up, or 200 MB.
"""

import argparse
import asyncio
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

from tests.certificates import authority

from letterlock.identity.handshake import Completed
from letterlock.identity.trust import TrustRoots
from letterlock.mail.addresses import Mailbox
from letterlock.mail.envelope import Envelope
from letterlock.mtasts.policy import Mode, StsPolicy
from letterlock.mtasts.sts_evidence import Absent, Known
from letterlock.policy.decision import Cleared, Requirement
from letterlock.policy.evidence import DestinationEvidence, MxHost, Origin, SessionEvidence, StartTls, TargetHost
from letterlock.policy.judge import judge
from letterlock.policy.require import require
from letterlock.queue.sessions import SessionTried
from letterlock.queue.tasks import Attempt, DeliveryTask, Lease
from letterlock.report.collector import ReportCollector
from letterlock.report.reports_of_a_day import tls_report
from letterlock.resolver.answer import Security
from letterlock.routing.routes import NextHop
from letterlock.state.report_store import ReportStore
from letterlock.tlsrpt.tally import DAY_SECONDS

NOON = 20_600.5 * DAY_SECONDS
FLUSH_EVERY = 50_000  # sessions: some 830 a second are a million in twenty minutes, and a flush is made each minute
GOAL_SECONDS = 10.0
GOAL_OCTETS = 200 << 20
FAILING = 20  # one session in so many
AUTHOR = Mailbox("tls-reports", "sender.example")
AUTHORITY = authority()
ROOTS = TrustRoots("bench", (AUTHORITY.der,))
CHAIN = AUTHORITY.leaf("mx.example").chain  # for all MX hosts, whose policies name it
TLS = Completed(version="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384", group="X25519", sni=None, chain=CHAIN)


class Clock:
    """Noon."""

    def now(self) -> float:
        """Seconds since 1970."""
        return NOON

    def monotonic(self) -> float:
        """The same."""
        return NOON


def attempts(domains: int) -> list[tuple[DeliveryTask, Attempt]]:
    """One attempt per domain and outcome; the same evidence serves many sessions, as in the server."""
    found = []
    for number in range(domains):
        name = f"d{number}.example"
        policy = StsPolicy(mode=Mode.ENFORCE, max_age_seconds=604_800, mx=("mx.example",))
        known = Known(policy=policy, id="1", fetched_at=0, expires_at=2e9, from_cache=True)
        evidence = DestinationEvidence(
            next_hop=NextHop(name), mx=None, rule=None, sts=known if number % 2 else Absent(), public_roots=ROOTS
        )
        host = TargetHost(
            host=MxHost(name="mx.example", preference=10, origin=Origin.MX, secure=False),
            port=25,
            canonical_name="mx.example",
            addresses=("192.0.2.1",),
            address_lookups=(),
            address_security=Security.INSECURE,
            tlsa_base=None,
            tlsa=None,
        )
        required = require(evidence, host)
        assert isinstance(required, Requirement)
        envelope = Envelope(
            id="ID", reverse_path=None, recipients=(Mailbox("a", name),), size=1, accepted_at=0, expires_at=1
        )
        task = DeliveryTask(
            lease=Lease("t", "ID", name, 1), envelope=envelope, recipients=envelope.recipients, attempts=0
        )
        found += [(task, _attempt(name, required, starttls)) for starttls in (StartTls.OFFERED, StartTls.NOT_OFFERED)]
    return found


def _attempt(name: str, required: Requirement, starttls: StartTls) -> Attempt:
    handshake = TLS if starttls is StartTls.OFFERED else None
    evidence = SessionEvidence(address="192.0.2.1", port=25, starttls=starttls, handshake=handshake)
    verdict = judge(required, evidence, NOON)
    assert handshake is None or isinstance(verdict, Cleared)
    session = SessionTried("mx.example", "192.0.2.1", 25, required, NOON, NOON, evidence, verdict)
    return Attempt(message_id="ID", next_hop=name, started_at=NOON, ended_at=NOON, outcomes=(), sessions=(session,))


async def roll_up(store: ReportStore, sessions: int, domains: int) -> None:
    """Show the collector so many sessions."""
    collector = ReportCollector(store, Clock(), is_report_address=lambda _mailbox: False)
    made, chance = attempts(domains), random.Random(1)  # noqa: S311  # so that a run can be repeated
    for number in range(sessions):
        which = 2 * chance.randrange(domains) + (number % FAILING == 0)
        collector.attempted(*made[which])
        if number % FLUSH_EVERY == FLUSH_EVERY - 1:
            await collector.flush()
    await collector.flush()


async def reports(store: ReportStore) -> tuple[int, int]:
    """Make all reports of the day; their number, and the sessions in them."""
    day, after, number, sessions = int(NOON // DAY_SECONDS), "", 0, 0
    while page := await store.tls_domains(day, after):
        for domain in page:
            report = tls_report(await store.tls_results(day, domain), day, domain, AUTHOR, "Sender")
            assert report is not None
            number, sessions = number + 1, sessions + report.successful + report.failed
        after = page[-1]
    return number, sessions


async def run(sessions: int, domains: int) -> int:
    """Measure and print; the exit status."""
    with tempfile.TemporaryDirectory() as name:
        store = ReportStore.open(Path(name))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
        began, cpu = time.perf_counter(), time.process_time()
        await roll_up(store, sessions, domains)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        taken = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) - before
        began = time.perf_counter()
        number, found = await reports(store)
        making = time.perf_counter() - began
        await store.close()
    print(f"{sessions:,} sessions to {domains:,} domains: {seconds:.1f} s ({cpu:.1f} s of CPU), {taken >> 20} MB more")
    print(f"{number:,} reports with {found:,} sessions: {making:.1f} s")
    assert found == sessions, "each session is under one policy here, and in one report"
    scale = max(sessions / 1_000_000, 0.01)
    return 0 if seconds <= GOAL_SECONDS * scale and taken <= GOAL_OCTETS else 1


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=1_000_000)
    parser.add_argument("--domains", type=int, default=5_000)
    arguments = parser.parse_args()
    return asyncio.run(run(arguments.sessions, arguments.domains))


if __name__ == "__main__":
    sys.exit(main())
