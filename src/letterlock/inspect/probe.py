"""One server, spoken to as delivery would, under a requirement that was given by hand; and all that was said.

The same line as an attempt (require, open, judge, transact), with the requirement from a person instead of from the
evidence, and with a dialer that writes the dialogue down. MAIL FROM is sent only for a message that was handed in, and
only in a session that the policy cleared.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from letterlock.deliver.conversation import SessionLost
from letterlock.deliver.options import DeliverOptions
from letterlock.deliver.session import NotCleared, Opened, OpenResult, Ports, Unreachable, open_with_fallback
from letterlock.deliver.transaction import transact
from letterlock.identity.dane import usable_records
from letterlock.identity.handshake import Completed, HandshakeFailed
from letterlock.identity.tlsa import TLSARecord
from letterlock.identity.trust import TrustRoots
from letterlock.mail.envelope import Envelope
from letterlock.net.streams import take_turns
from letterlock.policy.codes import Code
from letterlock.policy.decision import (
    DaneAuthentication,
    Demander,
    Encryption,
    PkixAuthentication,
    Requirement,
    SkipHost,
    SkipKind,
)
from letterlock.policy.evidence import DestinationEvidence, Origin, TargetHost
from letterlock.policy.reasons import Reason
from letterlock.policy.require import require
from letterlock.ports import Dialer, Stream
from letterlock.queue.tasks import OutcomeKind, RecipientOutcome
from letterlock.routing.destination_rule import DestinationRule, TlsRule
from letterlock.routing.routes import NextHop

MAX_RECORDED_OCTETS = 1 << 15  # of one session
SOURCE = "--require"


class Demand(StrEnum):
    """What is required by hand."""

    NONE = "none"  # nothing: TLS where it is offered, as delivery does where nothing demands it
    TLS = "tls"  # encryption, any certificate
    VERIFY = "verify"  # a certificate that PKIX verifies
    DANE = "dane"  # a certificate that a usable TLSA record names


@dataclass(frozen=True, slots=True, kw_only=True)
class ByHand:
    """A requirement as a person gives it.

    `names` are reference identifiers (A-labels) in place of the host's own name; `records` TLSA records in place of
    those in DNS; `roots` whom PKIX trusts; `sni` None: the name that delivery would send. `implicit`: TLS from the
    first octet.
    """

    demand: Demand
    roots: TrustRoots
    names: tuple[str, ...] = ()
    records: tuple[TLSARecord, ...] = ()
    sni: str | None = None
    implicit: bool = False


@dataclass(frozen=True, slots=True)
class TranscriptLine:
    """One line of a session, without its CRLF, as octets; `ours` or the server's, in cleartext or inside TLS."""

    octets: bytes
    ours: bool
    secure: bool


@dataclass(slots=True)
class ProbeSession:
    """What one connection showed, in the order in which it happened.

    `compatible`: the handshake was a second try with a small ClientHello. `cut`: there was more than is kept.
    """

    said: list[TranscriptLine] = field(default_factory=list)
    handshake: Completed | HandshakeFailed | None = None
    compatible: bool = False
    cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A message to be sent, if the verdict clears the session for it."""

    envelope: Envelope
    content: bytes


class ProbeConclusion(StrEnum):
    """What a probe comes to."""

    CLEARED = "cleared"
    NOT_CLEARED = "not-cleared"
    UNKNOWN = "unknown"  # a lookup failed, or nobody could be spoken to


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What came of it.

    `address` and `result` are those of the first address that took a connection, or of the last one; both None where
    the requirement already failed. `unreached` are the addresses that took none, and why. `outcomes` are those of the
    message (empty when none was to be sent, or the session was not cleared); `lost` says what ended its transaction.
    """

    target: TargetHost
    required: Requirement | SkipHost
    address: str | None = None
    result: OpenResult | None = None
    unreached: tuple[tuple[str, str], ...] = ()
    sessions: tuple[ProbeSession, ...] = ()
    outcomes: tuple[RecipientOutcome, ...] = ()
    lost: str | None = None

    @property
    def handshake(self) -> Completed | HandshakeFailed | None:
        """The last TLS handshake; the one that was judged."""
        return self.sessions[-1].handshake if self.sessions else None

    @property
    def conclusion(self) -> ProbeConclusion:
        """Whether mail may be sent in such a session. That there is no usable TLSA record is an answer too."""
        match self.result:
            case Opened():
                return ProbeConclusion.CLEARED
            case NotCleared():
                return ProbeConclusion.NOT_CLEARED
            case None if isinstance(self.required, SkipHost) and self.required.kind is SkipKind.NO_USABLE_TLSA:
                return ProbeConclusion.NOT_CLEARED
        return ProbeConclusion.UNKNOWN

    @property
    def delivered(self) -> bool:
        """Whether the server took the message for every recipient."""
        return bool(self.outcomes) and all(each.kind is OutcomeKind.DELIVERED for each in self.outcomes)


def require_by_hand(by_hand: ByHand, target: TargetHost) -> Requirement | SkipHost:
    """The requirement for a server. SkipHost where it can be seen beforehand that no session could meet it.

    Without an address, or with addresses that could not be found out, that is always so.
    """
    if not target.addresses:
        return _as_delivery(by_hand, replace(target, tlsa=None), TlsRule.MAY)
    match by_hand.demand:
        case Demand.DANE if by_hand.records:
            return _dane_by_hand(by_hand, target)
        case Demand.DANE:
            return _with(by_hand, _as_delivery(by_hand, target, TlsRule.DANE_ONLY))
        case Demand.VERIFY:
            return _pkix(by_hand, target)
    return _unauthenticated(by_hand, target)


def reference_names(by_hand: ByHand, target: TargetHost) -> tuple[str, ...]:
    """The names that the server's certificate may have: those given, else the TLSA base domain and the host's name."""
    own = () if target.host.origin is Origin.LITERAL else (target.tlsa_base or target.host.name, target.host.name)
    return by_hand.names or tuple(dict.fromkeys(own))


async def probe(
    target: TargetHost, by_hand: ByHand, *, ports: Ports, options: DeliverOptions, mail: Mail | None = None
) -> Probe:
    """Speak to the first address that answers; send `mail` if the session is cleared. Never raises for the peer.

    At most `options.max_addresses` addresses are tried.
    """
    required = require_by_hand(by_hand, target)
    if isinstance(required, SkipHost):
        return Probe(target=target, required=required)
    recorder = Recorder(ports.dialer)
    ports = replace(ports, dialer=recorder)
    address, result, unreached = None, None, []
    for address in target.addresses[: options.max_addresses]:
        result = await open_with_fallback(address, required, ports=ports, options=options, implicit=by_hand.implicit)
        if recorder.sessions:
            break
        if isinstance(result, Unreachable):
            unreached.append((address, result.text))
    probed = Probe(
        target=target,
        required=required,
        address=address,
        result=result,
        unreached=tuple(unreached),
        sessions=tuple(recorder.sessions),
    )
    return await _ended(probed, recorder, mail)


async def _ended(probed: Probe, recorder: "Recorder", mail: Mail | None) -> Probe:
    """Send the message, where there is one and the session is cleared; end the session."""
    if not isinstance(probed.result, Opened):
        return probed
    opened = probed.result
    recorder.deaf = True
    try:
        if mail is None:
            return probed
        name = probed.target.host.name
        server = name if name == probed.address else f"{name}[{probed.address}]"
        envelope = mail.envelope
        done = await transact(opened, envelope, envelope.recipients, mail.content, server=server)
    finally:
        await opened.conversation.end()
    outcomes = tuple(done.outcomes[one] for one in envelope.recipients if one in done.outcomes)
    return replace(probed, outcomes=outcomes, lost=_say_lost(done.lost))


def _say_lost(lost: SessionLost | None) -> str | None:
    return None if lost is None else lost.text


def _as_delivery(by_hand: ByHand, target: TargetHost, rule: TlsRule) -> Requirement | SkipHost:
    """What delivery would require of a host with this rule for it."""
    source = f"{SOURCE} {by_hand.demand}"
    evidence = DestinationEvidence(
        next_hop=NextHop(target.host.name, target.port),
        mx=None,
        rule=DestinationRule(domain=target.host.name, tls=rule, source=source),
    )
    required = require(evidence, target)
    if isinstance(required, Requirement | SkipHost):
        return required
    return SkipHost(kind=SkipKind.LOOP, reasons=required.reasons)


def _with(by_hand: ByHand, required: Requirement | SkipHost) -> Requirement | SkipHost:
    """The names and the SNI that were given by hand, in place of those from DNS."""
    if isinstance(required, SkipHost) or not isinstance(required.authentication, DaneAuthentication):
        return required
    references = by_hand.names or required.authentication.references
    authentication = replace(required.authentication, references=references)
    return replace(required, authentication=authentication, sni=by_hand.sni or required.sni)


def _dane_by_hand(by_hand: ByHand, target: TargetHost) -> Requirement | SkipHost:
    """The records count as signed: the person who gave them knows where they come from."""
    usable, source = usable_records(by_hand.records), f"{SOURCE} {by_hand.demand}"
    subject = target.host.name
    if not usable:
        why = Reason(code=Code.RFC7672_6_NO_USABLE_TLSA, subject=subject, facts=(("source", source),))
        return SkipHost(kind=SkipKind.NO_USABLE_TLSA, reasons=(why,))
    facts = (("count", str(len(usable))), ("base", "--tlsa"))
    return Requirement(
        encryption=Encryption.MANDATORY,
        authentication=DaneAuthentication(records=usable, references=reference_names(by_hand, target)),
        demanders=frozenset({Demander.DANE}),
        sni=_sni(by_hand, target),
        fallback=None,
        reasons=(Reason(code=Code.RFC7672_2_2_USABLE, subject=subject, facts=facts),),
    )


def _pkix(by_hand: ByHand, target: TargetHost) -> Requirement | SkipHost:
    """The names are secure, because a person gave them."""
    subject, source = target.host.name, ("source", f"{SOURCE} {by_hand.demand}")
    names = by_hand.names or (() if target.host.origin is Origin.LITERAL else (subject,))
    if not names:
        why = Reason(code=Code.RULE_VERIFY_NO_NAME, subject=subject, facts=(source,))
        return SkipHost(kind=SkipKind.RULE, reasons=(why,))
    why = Reason(code=Code.RULE_VERIFY, subject=subject, facts=(source, ("names", ", ".join(names))))
    return Requirement(
        encryption=Encryption.MANDATORY,
        authentication=PkixAuthentication(references=names, roots=by_hand.roots, names_secure=True),
        sni=_sni(by_hand, target),
        fallback=None,
        reasons=(why,),
    )


def _unauthenticated(by_hand: ByHand, target: TargetHost) -> Requirement:
    subject, sni = target.host.name, _sni(by_hand, target)
    if by_hand.demand is Demand.TLS:
        why = Reason(code=Code.RULE_REQUIRE_TLS, subject=subject, facts=(("source", f"{SOURCE} {by_hand.demand}"),))
        return Requirement(encryption=Encryption.MANDATORY, authentication=None, sni=sni, fallback=None, reasons=(why,))
    clear = Requirement(
        encryption=Encryption.NONE,
        authentication=None,
        sni=None,
        fallback=None,
        reasons=(Reason(code=Code.RFC7672_2_2_CLEARTEXT_FALLBACK, subject=subject),),
    )
    return Requirement(
        encryption=Encryption.OPTIONAL,
        authentication=None,
        sni=sni,
        fallback=None if by_hand.implicit else clear,  # a port that speaks TLS from the start has no cleartext
        reasons=(Reason(code=Code.RFC7435_3_OPPORTUNISTIC, subject=subject),),
    )


def _sni(by_hand: ByHand, target: TargetHost) -> str | None:
    """The given name, else the first reference identifier; a server at an address, without names, gets none."""
    return by_hand.sni or next(iter(reference_names(by_hand, target)), None)


class Recorder:
    """A dialer that writes down what is said, one Session a connection, until it is `deaf`."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self.sessions: list[ProbeSession] = []
        self.deaf = False

    async def dial(self, address: str, port: int) -> Stream:
        """Connect to one judged address. Raises OSError."""
        stream = await self._dialer.dial(address, port)
        self.sessions.append(ProbeSession())
        return _Recorded(stream, self, self.sessions[-1], secure=False)

    async def start_tls(
        self, stream: Stream, sni: str | None, *, compatible: bool = False
    ) -> tuple[Stream, Completed | HandshakeFailed]:
        """TLS over the stream below, so that no octet of it is written down."""
        if not isinstance(stream, _Recorded):
            raise TypeError("the stream was not dialled here")
        inner, stream.session.handshake = await self._dialer.start_tls(stream.inner, sni, compatible=compatible)
        stream.session.compatible = compatible
        handshake = stream.session.handshake
        if isinstance(handshake, HandshakeFailed):
            return stream, handshake
        return _Recorded(inner, self, stream.session, secure=True), handshake


class _Recorded:
    """A stream whose lines are written down, as ports.Stream."""

    def __init__(self, inner: Stream, recorder: Recorder, session: ProbeSession, *, secure: bool) -> None:
        self.inner = inner
        self.session = session
        self._recorder = recorder
        self._secure = secure
        self._octets = 0
        self._unfinished = False

    @property
    def peer(self) -> str:
        """The peer's IP address."""
        return self.inner.peer

    @property
    def quiet(self) -> bool:
        """Whether nothing has come that was not read."""
        return self.inner.quiet

    async def read(self, max_octets: int) -> bytes:
        """Some octets. Raises OSError."""
        data = await self.inner.read(max_octets)
        self._record(data, ours=False)
        return data

    async def write(self, data: bytes) -> None:
        """Hand over octets. Raises OSError."""
        self._record(data, ours=True)
        await self.inner.write(data)

    async def converse(self, first: bytes, answer: Callable[[bytes], bytes | None], max_octets: int) -> None:
        """Read and write in turns, all of it recorded. Raises OSError."""
        await take_turns(self, first, answer, max_octets)

    async def close(self) -> None:
        """End politely."""
        await self.inner.close()

    def abort(self) -> None:
        """Drop the connection."""
        self.inner.abort()

    def _record(self, data: bytes, *, ours: bool) -> None:
        """Keep lines; what comes in pieces is put together again, as long as the same side speaks."""
        if self._recorder.deaf or not data:
            return
        room = max(0, MAX_RECORDED_OCTETS - self._octets)
        self.session.cut = self.session.cut or len(data) > room
        self._octets += len(data)
        for line in data[:room].splitlines(keepends=True):
            self._keep(line, ours=ours)

    def _keep(self, line: bytes, *, ours: bool) -> None:
        said = self.session.said
        if self._unfinished and said and said[-1].ours is ours:
            line = said.pop().octets + line
        self._unfinished = not line.endswith(b"\n")
        said.append(TranscriptLine(line.rstrip(b"\r\n"), ours, self._secure))
