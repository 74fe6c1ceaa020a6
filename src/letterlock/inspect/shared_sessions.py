"""The sessions of many surveys: one for each address and way of opening it, shared by all domains that lead there.

Thousands of domains have their mail at one host. What its session shows is the same for all of them; what must hold in
it may differ. So the session is shared, and each domain's requirement is judged against what it showed.

A server that limits our connections is not unreachable. No address has more than MAX_SESSIONS_PER_ADDRESS sessions at
once. One that answers 421, or a greeting or EHLO with any other code of class 4, is tried again later, with a single
session; so is one that accepted a session before and refuses one now.
"""

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from letterlock.deliver.options import DeliverOptions
from letterlock.deliver.session import Opened, Ports, Unreachable, open_with_fallback
from letterlock.policy.decision import Encryption, Requirement
from letterlock.policy.evidence import SessionEvidence, StartTls

MAX_SESSIONS = 200  # at once, to all addresses: descriptors, and handshakes that the CPU has to do
MAX_SESSIONS_PER_ADDRESS = 2  # many servers count the connections of one client; one more than one, in case one hangs
MAX_REMEMBERED = 10_000  # sessions that are kept for the next domain, some kilobytes each: the largest hosts recur soon
PAUSES_SECONDS = (2.0, 8.0, 20.0)
"""Before an address that has enough of us is asked again: its other sessions end within seconds. A person waits."""

Pause = Callable[[float], Awaitable[None]]


class SessionTerms(NamedTuple):
    """The properties that decide the course of a session: two requirements that agree in this may share one.

    `source` names the address that it is dialled from.
    """

    source: str
    address: str
    port: int
    lmtp: bool
    implicit: bool
    sni: str | None
    encryption: Encryption
    has_fallback: bool
    authenticated: bool

    @classmethod
    def of(
        cls,
        requirement: Requirement,
        address: str,
        port: int,
        *,
        source: str,
        lmtp: bool = False,
        implicit: bool = False,
    ) -> "SessionTerms":
        """The way in which a session for a requirement is opened."""
        return cls(
            source=source,
            address=address,
            port=port,
            lmtp=lmtp,
            implicit=implicit,
            sni=requirement.sni,
            encryption=requirement.encryption,
            has_fallback=requirement.fallback is not None,
            authenticated=requirement.authentication is not None or requirement.also is not None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFindings:
    """What a session showed until the moment before MAIL FROM; it is closed."""

    evidence: SessionEvidence

    @property
    def by_fallback(self) -> bool:
        """Whether it is what came of a requirement's fallback, in cleartext on purpose."""
        return self.evidence.starttls is StartTls.NOT_TRIED


@dataclass(slots=True)
class _Door:
    """One address: its places, and how it has treated our sessions so far.

    `crowded`: it refused a session for load once, and gets one at a time. `hopeless`: waiting did not help, and no
    session has opened since. `answered`: a session has opened.
    """

    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_SESSIONS_PER_ADDRESS))
    alone: asyncio.Lock = field(default_factory=asyncio.Lock)
    crowded: bool = False
    hopeless: bool = False
    answered: bool = False

    def had_enough(self, result: SessionFindings | Unreachable) -> bool:
        """Whether a server that is not down did not take a session now."""
        return isinstance(result, Unreachable) and (result.hints.slow_down or self.answered)


class SharedSessions:
    """Opens sessions, each once, and hands out what they showed."""

    def __init__(self, *, max_sessions: int = MAX_SESSIONS, pause: Pause = asyncio.sleep) -> None:
        self._slots = asyncio.Semaphore(max_sessions)
        self._pause = pause
        self._doors: dict[tuple[str, int], _Door] = {}
        self._looks: OrderedDict[SessionTerms, asyncio.Task[SessionFindings | Unreachable]] = OrderedDict()

    async def look(
        self, way: SessionTerms, requirement: Requirement, ports: Ports, options: DeliverOptions
    ) -> SessionFindings | Unreachable:
        """What a session that is opened in this way shows. Never raises for the peer."""
        task = self._looks.get(way)
        if task is None:
            task = self._looks[way] = asyncio.create_task(self._look(way, requirement, ports, options))
            self._forget_old()
        self._looks.move_to_end(way)
        return await asyncio.shield(task)  # a waiter may give up; others wait for it too

    def _forget_old(self) -> None:
        """Forget what was used longest ago and has ended, where there is more than MAX_REMEMBERED."""
        excess = len(self._looks) - MAX_REMEMBERED
        if excess > 0:
            ended = (way for way, task in self._looks.items() if task.done())
            for way in tuple(itertools.islice(ended, excess)):
                del self._looks[way]

    async def aclose(self) -> None:
        """End what is under way."""
        tasks = [task for task in self._looks.values() if not task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(
        self, way: SessionTerms, requirement: Requirement, ports: Ports, options: DeliverOptions
    ) -> SessionFindings | Unreachable:
        door = self._doors.setdefault((way.address, way.port), _Door())
        once = partial(self._once, door, way, requirement, ports, options)
        pauses: tuple[float, ...] = (0.0, *PAUSES_SECONDS)
        if not door.crowded:
            async with door.places:
                result = await once()
            if not door.had_enough(result):
                return result
            door.crowded, pauses = True, PAUSES_SECONDS
        async with door.alone:
            return await self._patiently(door, once, pauses)

    async def _patiently(
        self, door: _Door, once: Callable[[], Awaitable[SessionFindings | Unreachable]], pauses: tuple[float, ...]
    ) -> SessionFindings | Unreachable:
        """Ask until the server has time for us; those behind us wait meanwhile, and do not ask in vain."""
        for pause in (0.0,) if door.hopeless else pauses:
            await self._pause(pause)
            result = await once()
            if not door.had_enough(result):
                return result
        door.hopeless = True
        return result

    async def _once(
        self, door: _Door, way: SessionTerms, requirement: Requirement, ports: Ports, options: DeliverOptions
    ) -> SessionFindings | Unreachable:
        async with self._slots:
            result = await open_with_fallback(
                way.address, requirement, ports=ports, options=options, implicit=way.implicit, lmtp=way.lmtp
            )
            if isinstance(result, Opened):
                await result.conversation.end()
        if isinstance(result, Unreachable):
            return result
        door.answered, door.hopeless = True, False
        return SessionFindings(evidence=result.evidence)
