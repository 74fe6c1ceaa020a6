"""An answer and its proof: a validating stub resolver, as a library (RFC 4033, 4034, 4035, 5155, 6840).

    resolver = Resolver(transport)
    answer = await resolver.resolve("mx.example.org", "A")

It asks an upstream for data, signatures and denials (DO and CD), believes none of it, and builds the chain of trust
itself, from the trust anchors down. Every answer carries its state (secure, insecure, indeterminate) and the steps of
its proof; what could not be found out is a LookupFailure, and never an absence: a timeout, a SERVFAIL, a broken
signature and an exhausted budget are kept apart from NODATA and NXDOMAIN, which have to be proven.

`lookup` is the stepper: no sockets, no clock. `driver` runs it in an event loop; `transport(wire, tcp)` is
whatever brings a query to an upstream. What it refuses: the AD bit, a signer outside the chain, denials that are not
the zone's own, and any work beyond its `Budget`.
"""

from letterlock.resolver.answer import (
    Absence,
    AliasLink,
    Answer,
    FailureKind,
    LookupFailure,
    ProofStep,
    Question,
    Sections,
    Security,
)
from letterlock.resolver.budget import Budget
from letterlock.resolver.cache import Cache
from letterlock.resolver.driver import ValidatingResolver as Resolver
from letterlock.resolver.inquiry import Ask, Breathe, InquirySettings
from letterlock.resolver.lookup import Lookup
from letterlock.resolver.sent_queries import Transport
from letterlock.resolver.signatures import ALGORITHMS, SHA1_ALGORITHMS
from letterlock.resolver.trust_anchors import (
    InvalidAnchor,
    NegativeAnchor,
    TrustAnchor,
    parse_anchors,
    root_anchors,
)

__all__ = [
    "ALGORITHMS",
    "SHA1_ALGORITHMS",
    "Absence",
    "AliasLink",
    "Answer",
    "Ask",
    "Breathe",
    "Budget",
    "Cache",
    "FailureKind",
    "InquirySettings",
    "InvalidAnchor",
    "Lookup",
    "LookupFailure",
    "NegativeAnchor",
    "ProofStep",
    "Question",
    "Resolver",
    "Sections",
    "Security",
    "Transport",
    "TrustAnchor",
    "parse_anchors",
    "root_anchors",
]
