"""check_host() as a generator: DNS questions out, answers in, a verdict at the end (RFC 7208 section 4).

    steps = evaluate(mail_from_request("192.0.2.7", "ann@example.org", "out.example.org"))

The work is bounded by the standard's limits: ten terms that need the DNS, two of them without a result, ten hosts for
each, and by the size of a record. A lookup that fails, or whose proof is broken, is temperror and never "no record".
"""

from collections.abc import Generator
from dataclasses import dataclass
from ipaddress import ip_address

import dns.rdatatype
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.PTR import PTR
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA

from letterlock.mailauth.asking import Answers, Asked, Steps, question, txt_records
from letterlock.mailauth.spf.macros import (
    InvalidMacro,
    check_explanation,
    expand,
    letters,
    shortened,
)
from letterlock.mailauth.spf.reasons import SpfCode, SpfReason, SpfResult, reason
from letterlock.mailauth.spf.record import (
    MAX_RECORD_OCTETS,
    InvalidSpfRecord,
    Kind,
    Mechanism,
    SpfRecord,
    parse_record,
    spf_records,
)
from letterlock.mailauth.spf.request import MIN_LABELS, Client, Request
from letterlock.mailauth.spf.verdict import Match, SpfVerdict
from letterlock.resolver.answer import Absence, Answer, FailureKind, LookupFailure, Question

# Section 4.6.4 fixes the first, third and fourth, and recommends the second.
MAX_LOOKUPS = 10
MAX_VOID_LOOKUPS = 2
MAX_MX_HOSTS = 10
MAX_PTR_NAMES = 10
# An explanation ends up in an SMTP reply, where a few lines are useful; macros can make it 80 times as long.
MAX_EXPLANATION_OCTETS = 512
MAX_EXPLANATION_CHARACTERS = 1_000

_A, _AAAA, _MX = dns.rdatatype.A, dns.rdatatype.AAAA, dns.rdatatype.MX
_PTR, _TXT = dns.rdatatype.PTR, dns.rdatatype.TXT
_NEED_DNS = frozenset({Kind.INCLUDE, Kind.A, Kind.MX, Kind.PTR, Kind.EXISTS})


def evaluate(request: Request) -> Steps[SpfVerdict]:
    """Check a request. Yields questions, is resumed with their answers, returns the verdict. Never raises."""
    return _Check(request).run()


class _Stop(Exception):
    """The whole check ends here."""

    def __init__(self, result: SpfResult, why: SpfReason) -> None:
        super().__init__(result)
        self.result, self.why = result, why


@dataclass(frozen=True, slots=True)
class _Found:
    """What the record of one domain comes to; `explanation` is the exp= of that record."""

    result: SpfResult
    why: SpfReason
    domain: str
    matches: tuple[Match, ...] = ()
    explanation: str | None = None


class _Check:
    def __init__(self, request: Request) -> None:
        self._request = request
        self._lookups = 0
        self._void_lookups = 0
        self._asked: list[Asked] = []
        self._validated: tuple[str, ...] | None = None
        self._address_type = _A if request.client.version == 4 else _AAAA  # IPv4

    def run(self) -> Steps[SpfVerdict]:
        """The generator."""
        try:
            found = yield from self._host(self._request.domain)
        except _Stop as stop:
            return self._verdict(_Found(stop.result, stop.why, self._request.domain), None)
        explanation = None
        if found.result is SpfResult.FAIL and found.explanation is not None:
            explanation = yield from self._explanation(found.explanation, found.domain)
        return self._verdict(found, explanation)

    def _verdict(self, found: _Found, explanation: str | None) -> SpfVerdict:
        return SpfVerdict(
            request=self._request,
            result=found.result,
            reason=found.why,
            matches=found.matches,
            explanation=explanation,
            lookups=self._lookups,
            void_lookups=self._void_lookups,
            asked=tuple(self._asked),
        )

    def _host(self, domain: str, term: str = "") -> Steps[_Found]:
        """check_host() for one domain; `term` is the include or redirect that leads to it."""
        wanted = question(domain, _TXT)
        if wanted is None or domain.startswith("[") or len(wanted.name) <= MIN_LABELS:
            return _Found(SpfResult.NONE, reason(SpfCode.NOT_A_DOMAIN, domain=domain), domain)
        answer = yield from self._ask(wanted)
        if term and answer.absence:
            self._void(term, domain)
        if answer.absence is Absence.NXDOMAIN:
            return _Found(SpfResult.NONE, reason(SpfCode.NO_SUCH_DOMAIN, domain=domain), domain)
        record = _only_record(answer, domain)
        if record is None:
            return _Found(SpfResult.NONE, reason(SpfCode.NO_RECORD, domain=domain), domain)
        return (yield from self._by_record(record, domain))

    def _by_record(self, record: SpfRecord, domain: str) -> Steps[_Found]:
        for mechanism in record.mechanisms:
            inner = yield from self._match(mechanism, domain)
            if inner is not None:
                matches = (Match(domain, mechanism.text), *inner)
                why = reason(
                    SpfCode.MATCHED, client=self._request.client, domain=matches[-1].domain, term=matches[-1].term
                )
                return _Found(mechanism.result, why, domain, matches, record.explanation)
        if record.redirect is None:
            return _Found(
                SpfResult.NEUTRAL, reason(SpfCode.NO_MATCH, domain=domain, client=self._request.client), domain
            )
        return (yield from self._redirected(record.redirect, domain))

    def _redirected(self, target: str, domain: str) -> Steps[_Found]:
        term = f"redirect={target}"
        self._spend(term, domain)
        name = yield from self._name(target, domain)
        found = yield from self._host(name, term)
        if found.result is SpfResult.NONE:
            raise _Stop(SpfResult.PERMERROR, reason(SpfCode.REDIRECT_WITHOUT_RECORD, domain=domain, name=name))
        matches = (Match(domain, term), *found.matches) if found.matches else ()
        return _Found(found.result, found.why, found.domain, matches, found.explanation)

    def _match(self, mechanism: Mechanism, domain: str) -> Steps[tuple[Match, ...] | None]:
        """None: no match. Else the matches inside of an include, none for all others."""
        if mechanism.kind in _NEED_DNS:
            self._spend(mechanism.text, domain)
        if mechanism.kind is Kind.INCLUDE:
            return (yield from self._included(mechanism, domain))
        return () if (yield from self._matches(mechanism, domain)) else None

    def _matches(self, mechanism: Mechanism, domain: str) -> Steps[bool]:
        if mechanism.kind is Kind.ALL:
            return True
        if mechanism.network is not None:
            return self._request.client in mechanism.network
        name = (yield from self._name(mechanism.target, domain)) if mechanism.target else domain
        match mechanism.kind:
            case Kind.A:
                return (yield from self._a(mechanism, name, domain))
            case Kind.MX:
                return (yield from self._mx(mechanism, name, domain))
            case Kind.PTR:
                return (yield from self._ptr(mechanism, name, domain))
        answer = yield from self._lookup(name, _A, mechanism, domain)  # exists: A for IPv6 clients, too (section 5.7)
        return answer is not None and answer.absence is None

    def _included(self, mechanism: Mechanism, domain: str) -> Steps[tuple[Match, ...] | None]:
        name = yield from self._name(mechanism.target, domain)
        found = yield from self._host(name, mechanism.text)
        if found.result is SpfResult.NONE:
            raise _Stop(SpfResult.PERMERROR, reason(SpfCode.INCLUDE_WITHOUT_RECORD, domain=domain, name=name))
        return found.matches if found.result is SpfResult.PASS else None

    def _a(self, mechanism: Mechanism, name: str, domain: str) -> Steps[bool]:
        answer = yield from self._lookup(name, self._address_type, mechanism, domain)
        return answer is not None and self._in_reach(answer, mechanism)

    def _mx(self, mechanism: Mechanism, name: str, domain: str) -> Steps[bool]:
        answer = yield from self._lookup(name, _MX, mechanism, domain)
        records = [record for record in answer.records if isinstance(record, MX)] if answer else []
        hosts = [record.exchange for record in sorted(records, key=lambda record: record.preference)]
        wanted = [Question(host.canonicalize(), self._address_type) for host in hosts if len(host) > 1]
        answers = yield from self._fetch(wanted[:MAX_MX_HOSTS])
        for each in wanted[:MAX_MX_HOSTS]:
            found = answers[each]
            if isinstance(found, LookupFailure):
                raise _failed(found)
            if self._in_reach(found, mechanism):
                return True
        if len(wanted) > MAX_MX_HOSTS:
            facts = {"name": name, "count": len(hosts), "limit": MAX_MX_HOSTS}
            raise _Stop(SpfResult.PERMERROR, reason(SpfCode.TOO_MANY_HOSTS, **facts))
        return False

    def _ptr(self, mechanism: Mechanism, name: str, domain: str) -> Steps[bool]:
        names = yield from self._validated_names(mechanism, domain)
        target = name.lower().removesuffix(".")
        return any(each == target or each.endswith(f".{target}") for each in names)

    def _in_reach(self, answer: Answer, mechanism: Mechanism) -> bool:
        """Whether the client is in the network of one of the addresses."""
        client = self._request.client
        prefix = mechanism.prefix4 if client.version == 4 else mechanism.prefix6  # IPv4
        others = client.max_prefixlen - prefix
        return any(
            each.version == client.version and int(client) >> others == int(each) >> others
            for each in _addresses(answer)
        )

    # what is asked

    def _fetch(self, wanted: list[Question]) -> Generator[tuple[Question, ...], Answers, Answers]:
        if not wanted:
            return {}
        answers = yield tuple(dict.fromkeys(wanted))
        self._asked.extend(Asked.of(each, answers[each]) for each in dict.fromkeys(wanted))
        return answers

    def _ask(self, wanted: Question) -> Steps[Answer]:
        """The answer to a question. Ends the check when there is none."""
        answer = (yield from self._fetch([wanted]))[wanted]
        if isinstance(answer, LookupFailure):
            raise _failed(answer)
        return answer

    def _lookup(
        self, name: str, rdtype: dns.rdatatype.RdataType, mechanism: Mechanism, domain: str
    ) -> Steps[Answer | None]:
        """The answer for a term's own name; None for a name that cannot be asked for, which is no match."""
        wanted = question(name, rdtype)
        if wanted is None:
            return None
        answer = yield from self._ask(wanted)
        if answer.absence:
            self._void(mechanism.text, domain)
        return answer

    def _validated_names(self, mechanism: Mechanism | None, domain: str) -> Steps[tuple[str, ...]]:
        """The client's names that lead back to it (section 5.5), found out once. Failures are no match, as there."""
        if self._validated is None:
            wanted = question(self._request.client.reverse_pointer, _PTR)
            assert wanted is not None  # noqa: S101  # an address always has a reverse name
            answer = (yield from self._fetch([wanted]))[wanted]
            if mechanism and isinstance(answer, Answer) and answer.absence:
                self._void(mechanism.text, domain)
            self._validated = yield from self._confirmed(answer)
        return self._validated

    def _confirmed(self, answer: Answer | LookupFailure) -> Steps[tuple[str, ...]]:
        records = answer.records if isinstance(answer, Answer) else ()
        targets = [record.target for record in records if isinstance(record, PTR)][:MAX_PTR_NAMES]
        wanted = [Question(target.canonicalize(), self._address_type) for target in targets]
        answers = yield from self._fetch(wanted)
        return tuple(
            each.name.to_text(omit_final_dot=True)
            for each in wanted
            if isinstance(found := answers[each], Answer) and self._request.client in _addresses(found)
        )

    # macros

    def _name(self, spec: str, domain: str) -> Steps[str]:
        """The name that a domain-spec stands for, short enough for a query."""
        values = yield from self._values(spec, domain)
        return shortened(expand(spec, values))

    def _values(self, text: str, domain: str) -> Steps[dict[str, str]]:
        """The values of the macro letters (section 7.2); %{p} costs lookups and is found out only when it is used."""
        request, client = self._request, self._request.client
        dotted = str(client) if client.version == 4 else ".".join(f"{int(client):032x}")  # IPv4
        values = {
            "s": request.sender,
            "l": request.local_part,
            "o": request.domain,
            "d": domain,
            "i": dotted,
            "v": "in-addr" if client.version == 4 else "ip6",  # IPv4
            "h": request.helo,
            "c": str(client),
            "r": request.receiver,
            "t": str(int(request.now)),
        }
        if "p" in letters(text):
            names = yield from self._validated_names(None, domain)
            values["p"] = _best_name(names, domain.lower())
        return values

    def _explanation(self, spec: str, domain: str) -> Steps[str | None]:
        """The text of exp= (section 6.2): whatever is wrong with it, there is none, and the result stays."""
        wanted = question((yield from self._name(spec, domain)), _TXT)
        answer = (yield from self._fetch([wanted]))[wanted] if wanted else None
        texts = txt_records(answer) if isinstance(answer, Answer) else ()
        if len(texts) != 1 or len(texts[0]) > MAX_EXPLANATION_OCTETS:
            return None
        text = texts[0].decode("latin-1")
        try:
            check_explanation(text)
        except InvalidMacro:  # an explanation is for people, and decides nothing
            return None
        return expand(text, (yield from self._values(text, domain)))[:MAX_EXPLANATION_CHARACTERS]

    # limits

    def _spend(self, term: str, domain: str) -> None:
        if self._lookups == MAX_LOOKUPS:
            facts = {"limit": MAX_LOOKUPS, "term": term, "domain": domain}
            raise _Stop(SpfResult.PERMERROR, reason(SpfCode.TOO_MANY_LOOKUPS, **facts))
        self._lookups += 1

    def _void(self, term: str, domain: str) -> None:
        self._void_lookups += 1
        if self._void_lookups > MAX_VOID_LOOKUPS:
            facts = {"limit": MAX_VOID_LOOKUPS, "term": term, "domain": domain}
            raise _Stop(SpfResult.PERMERROR, reason(SpfCode.TOO_MANY_VOID_LOOKUPS, **facts))


def _only_record(answer: Answer, domain: str) -> SpfRecord | None:
    """The SPF record among TXT records (section 4.5). Ends the check when there are several, or it is malformed."""
    texts = spf_records(txt_records(answer))
    if len(texts) > 1:
        raise _Stop(SpfResult.PERMERROR, reason(SpfCode.SEVERAL_RECORDS, domain=domain, count=len(texts)))
    if not texts:
        return None
    if len(texts[0]) > MAX_RECORD_OCTETS:
        facts = {"domain": domain, "octets": len(texts[0]), "limit": MAX_RECORD_OCTETS}
        raise _Stop(SpfResult.PERMERROR, reason(SpfCode.TOO_LARGE, **facts))
    try:
        return parse_record(texts[0])
    except InvalidSpfRecord as error:
        raise _Stop(SpfResult.PERMERROR, reason(SpfCode.SYNTAX, domain=domain, detail=error)) from None


def _failed(failure: LookupFailure) -> _Stop:
    """A lookup that failed is never an absence (section 4.4)."""
    if failure.kind is FailureKind.BOGUS:
        return _Stop(SpfResult.TEMPERROR, reason(SpfCode.BOGUS, question=failure.question))
    return _Stop(SpfResult.TEMPERROR, reason(SpfCode.LOOKUP_FAILED, question=failure.question, kind=failure.kind.value))


def _addresses(answer: Answer) -> tuple[Client, ...]:
    return tuple(ip_address(record.address) for record in answer.records if isinstance(record, A | AAAA))


def _best_name(names: tuple[str, ...], domain: str) -> str:
    """The validated name for %{p}: the domain itself, else one below it, else any (section 7.3)."""
    below = [name for name in names if name.endswith(f".{domain}")]
    return domain if domain in names else next(iter(below or names), "unknown")
