"""What an operator may ask of the policy door: a decision as JSON and with its reasons, a dump, a purge.

The verbs `JSON`, `DUMP` and `PURGE` are those of postfix-tlspol; the answers are our own.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from letterlock.companion.answer_memory import MAX_DESTINATIONS, AnswerMemory, replies
from letterlock.companion.deciding import Decided
from letterlock.companion.postfix_key import SMTP_PORT, next_hop
from letterlock.companion.postfix_policy import HostDemand, NotDemanded, NotFoundOut
from letterlock.mtasts.sts_evidence import Absent, Known, PolicyUnavailable, StsEvidence
from letterlock.policy.reasons import Reason, section, sentence
from letterlock.resolver.answer import Answer, LookupFailure
from letterlock.routing.routes import NextHop

MAX_DUMPED = 1_000  # chosen: in one answer, which Postfix' protocol limits to 100,000 octets


class NoNextHop(ValueError):
    """The text names no next hop."""


@dataclass(frozen=True, slots=True)
class Operating:
    """Answers operators. `decide` looks everything up anew, from what the resolver remembers."""

    memory: AnswerMemory
    decide: Callable[[NextHop], Awaitable[Decided]]
    usual_port: int = SMTP_PORT

    @property
    def commands(self) -> Mapping[bytes, Callable[[str], Awaitable[str]]]:
        """The verbs, as the policy door takes them."""
        return {b"JSON": self._json, b"DUMP": self._dump, b"PURGE": self._purge}

    @property
    def control_verbs(self) -> Mapping[str, Callable[[Mapping[str, Any]], Awaitable[dict[str, object]]]]:
        """The same for the control socket. What is wrong with a request raises ValueError."""
        return {"policy.query": self._asked, "policy.dump": self._dumped, "policy.purge": self._purged}

    async def _asked(self, request: Mapping[str, Any]) -> dict[str, object]:
        return await self.query(str(request.get("next_hop", "")))

    async def _dumped(self, _request: Mapping[str, Any]) -> dict[str, object]:
        return self.dump(limit=MAX_DESTINATIONS)

    async def _purged(self, _request: Mapping[str, Any]) -> dict[str, object]:
        return {"purged": self.memory.purge()}

    async def _json(self, key: str) -> str:
        try:
            return json.dumps(await self.query(key))
        except NoNextHop as error:
            return json.dumps({"error": str(error)})

    async def _dump(self, _key: str) -> str:
        return json.dumps(self.dump(limit=MAX_DUMPED))

    async def _purge(self, _key: str) -> str:
        return json.dumps({"purged": self.memory.purge()})

    async def query(self, key: str) -> dict[str, object]:
        """The answer for a next hop, and everything that it was derived from. Raises NoNextHop."""
        hop = next_hop(key.encode(), self.usual_port)
        if hop is None:
            raise NoNextHop(f"{key!r} is not a next hop: write example.org, example.org:587 or [mx.example.org]")
        decided = await self.decide(hop)
        plain, reporting = replies(decided.answer)
        return {
            "next_hop": str(hop),
            "answer": plain.decode(),
            "answer_with_tlsrpt": reporting.decode(),
            "holds_seconds": int(decided.seconds),
            "remembered": self.remembered(hop),
            "mx": _lookup(decided.evidence.mx),
            "mta_sts": _sts(decided.evidence.sts),
            "rule": decided.evidence.rule.source if decided.evidence.rule is not None else None,
            "route": [_reason(each) for each in decided.routed.reasons],
            "hosts": [_host(each) for each in decided.hosts],
            "why": _why(decided),
        }

    def remembered(self, hop: NextHop) -> dict[str, object] | None:
        """What Postfix would be told now without a look, which may be older than what `query` finds."""
        for known, entry, left in self.memory.dump():
            if known == hop:
                return {"answer": entry.plain.decode(), "ends_in_seconds": int(left)}
        return None

    def dump(self, *, limit: int) -> dict[str, object]:
        """What is remembered, at most `limit` destinations of it."""
        rows = [
            {
                "next_hop": str(hop),
                "answer": entry.plain.decode(),
                "ends_in_seconds": int(left),
                "questions": entry.questions,
            }
            for hop, entry, left in self.memory.dump()
        ]
        return {"count": len(rows), "destinations": rows[:limit]}


def _why(decided: Decided) -> str:
    """The answer in a sentence."""
    match decided.answer:
        case NotDemanded():
            return "nobody demands anything: Postfix goes by smtp_tls_security_level, per host if that is `dane`"
        case NotFoundOut(why=why):
            return f"mail waits, because what must hold is not known: {why}"
        case answer:
            return f"every host has to meet the level `{answer.level}`"


def _lookup(found: Answer | LookupFailure | None) -> str | None:
    if found is None:
        return None
    if isinstance(found, LookupFailure):
        return f"could not find out: {found.kind.value}"
    return found.security.value if found.absence is None else f"{found.absence.value}, {found.security.value}"


def _sts(sts: StsEvidence | None) -> dict[str, object]:
    match sts:
        case Known(policy=policy):
            trouble = {"trouble": sts.trouble} if sts.trouble else {}
            return {"mode": policy.mode.value, "id": sts.id, "mx": list(policy.mx), **trouble}
        case PolicyUnavailable(detail=detail):
            return {"mode": None, "detail": f"could not find out, and no policy is remembered: {detail}"}
        case Absent(detail=detail) if detail:
            return {"mode": None, "detail": detail}
    return {"mode": None}


def _host(each: HostDemand) -> dict[str, object]:
    return {
        "name": each.target.host.name,
        "addresses": list(each.target.addresses),
        "tlsa": _lookup(each.target.tlsa),
        "reasons": [_reason(one) for one in each.required.reasons],
    }


def _reason(reason: Reason) -> dict[str, str]:
    return {"code": reason.code, "sentence": f"{reason.subject}: {sentence(reason)}", "standard": section(reason)}
