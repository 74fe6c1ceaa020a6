"""Two workers that share remembered MTA-STS policies: what each can do, and what must hold whatever the order is.

The domain had `testing` under id 1 and has `enforce` under id 2 now. Each worker has a network of its own: the attacker
may stand before one and not before the other.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

import dns.rdatatype

from letterlock.mtasts import Fetched, FetchFailed, Known, KnownPolicy, Mode, StsEvidence, StsPolicy
from letterlock.ports import PolicyMemory
from letterlock.resolver.answer import Answer, FailureKind, LookupFailure
from tests.contract.interleaving import Gate
from tests.discover.test_sts_finder import BLOCKED, DAY, DOMAIN, NOW, Clock, World, text
from tests.policy.evidence import failure

OLD = KnownPolicy(
    domain=DOMAIN,
    id="1",
    policy=StsPolicy(mode=Mode.TESTING, max_age_seconds=86_400, mx=("mx.example.org",)),
    fetched_at=NOW - DAY,
    expires_at=NOW + DAY,
    refresh_at=NOW - 1,
)
EXPIRED = replace(OLD, fetched_at=NOW - 2 * DAY, expires_at=NOW - DAY)
PRIORS = (None, OLD, EXPIRED)


class DictPolicies:
    """The contract of `Policies` in its smallest form: one row a domain, each verb a single step."""

    def __init__(self) -> None:
        self.rows: dict[str, KnownPolicy] = {}

    async def load(self, domain: str, used_at: float | None = None) -> KnownPolicy | None:
        return self.rows.get(domain)

    async def due(self, now: float, limit: int) -> Sequence[KnownPolicy]:
        return [row for row in self.rows.values() if row.refresh_at <= now < row.expires_at][:limit]

    async def swap(self, domain: str, before: KnownPolicy | None, after: KnownPolicy | None, now: float) -> bool:
        if self.rows.get(domain) != before:
            return False
        if after is None:
            self.rows.pop(domain, None)
        else:
            self.rows[domain] = after
        return True


class GatedPolicies:
    """The same policies, with a gate before each verb."""

    def __init__(self, shared: PolicyMemory, gate: Gate) -> None:
        self._shared = shared
        self._gate = gate

    async def load(self, domain: str, used_at: float | None = None) -> KnownPolicy | None:
        await self._gate.step()
        return await self._shared.load(domain, used_at)

    async def due(self, now: float, limit: int) -> Sequence[KnownPolicy]:
        await self._gate.step()
        return await self._shared.due(now, limit)

    async def swap(self, domain: str, before: KnownPolicy | None, after: KnownPolicy | None, now: float) -> bool:
        await self._gate.step()
        return await self._shared.swap(domain, before, after, now)


class Side(World):
    """One worker with its own network and its own finder, over the shared policies and one clock."""

    def __init__(self, shared: PolicyMemory, clock: Clock) -> None:
        self.door = Gate()
        super().__init__(GatedPolicies(shared, self.door))
        self.clock = clock
        self.restarted()

    def meet_attacker(self) -> None:
        self.put(failure(f"_mta-sts.{DOMAIN}", "TXT", FailureKind.SERVFAIL))
        self.outcome = BLOCKED

    def hide(self) -> None:
        self.withhold()
        self.outcome = BLOCKED

    def see_truth(self) -> None:
        self.publish("2")
        self.outcome = text("enforce")

    async def resolve(self, name: str, rdtype: dns.rdatatype.RdataType) -> Answer | LookupFailure:
        if rdtype == dns.rdatatype.TXT:
            await self.door.step()
        return await super().resolve(name, rdtype)

    async def fetch(self, host: str, addresses: Sequence[str]) -> Fetched | FetchFailed:
        await self.door.step()
        return await super().fetch(host, addresses)


@dataclass(frozen=True, slots=True)
class Told:
    """What a worker was told, and whether anybody knew of `enforce` when it asked."""

    evidence: StsEvidence
    known_before: bool


class Race:
    """Two workers and what they did; `check` says whether protection was lost."""

    def __init__(self, shared: PolicyMemory) -> None:
        self.shared = shared
        self.clock = Clock()
        self.sides = (Side(shared, self.clock), Side(shared, self.clock))
        self.known = False
        self.told: list[Told] = []

    async def ask(self, side: Side) -> None:
        before = self.known
        evidence = await side.finder.find(DOMAIN)
        self.told.append(Told(evidence, before))
        self.known = self.known or enforced(evidence)

    async def read(self, side: Side) -> None:
        """Mail for the domain, and the attacker blocks everything."""
        side.meet_attacker()
        await self.ask(side)

    async def write(self, side: Side) -> None:
        """Mail for the domain, and nobody disturbs."""
        side.see_truth()
        await self.ask(side)

    async def delete(self, side: Side) -> None:
        """Mail for the domain, whose record is hidden: what has expired is forgotten."""
        side.hide()
        await self.ask(side)

    async def refresh(self, side: Side) -> None:
        """The policy is due in the background, and nobody disturbs."""
        side.see_truth()
        await side.finder.refresh_due(self.clock.time)
        stored = await self.shared.load(DOMAIN)
        self.known = self.known or (stored is not None and stored.id == "2")

    async def expire(self, side: Side) -> None:
        """Two days later, beyond the life of the old policy; then as in `read`."""
        self.clock.time += 2 * DAY
        await self.read(side)

    async def restart(self, side: Side) -> None:
        """The worker begins anew; then as in `read`."""
        side.restarted()
        await self.read(side)

    async def check(self) -> None:
        """Once somebody knew of `enforce`, everybody who asks later does, after a restart too."""
        for side in self.sides:
            side.door.free = True
        self.known = self.known or any(enforced(told.evidence) for told in self.told)
        for side in (*self.sides, *self.sides):
            await self.read(side)
            side.restarted()
        for told in self.told:
            assert enforced(told.evidence) or not told.known_before, told


Deed = Callable[[Race, Side], Awaitable[None]]
DEEDS: tuple[Deed, ...] = (Race.read, Race.write, Race.delete, Race.refresh, Race.expire, Race.restart)


def enforced(evidence: StsEvidence) -> bool:
    """Whether it is the policy that the domain has now."""
    return isinstance(evidence, Known) and (evidence.id, evidence.policy.mode) == ("2", Mode.ENFORCE)
