"""Queries to upstream resolvers: UDP, TCP and TLS (RFC 1035 section 4.2, RFC 5452, RFC 7766, RFC 7858).

    async with aclosing(UpstreamTransport([parse_upstream("192.0.2.53")])) as transport:
        resolver = Resolver(transport)

Nothing that an upstream sends is trusted before the resolver has validated it. This room only has to bring an answer
to the question that was asked, and quickly. Every UDP query has its own socket and so its own port. Datagrams that do
not answer it exactly are skipped and counted; after too many of them the query moves to TCP, where an off-path attacker
cannot guess. TCP and TLS connections are kept, and carry many queries at once. The fastest upstream is asked first. If
it is late, the next one is asked too, and the first good reply counts. One deadline bounds the whole query.

`examine` finds out whether an upstream is fit for validation: many forwarders drop the signatures, and then every
signed name looks forged. `UpstreamTransport.examine` looks at all of them, and asks the fit ones first from then on.
"""

from letterlock.net.dns.examination import UpstreamFinding, UpstreamReport, examine
from letterlock.net.dns.transport import UpstreamTransport
from letterlock.net.dns.upstream import InvalidUpstream, NoUpstreams, Upstream, parse_upstream, system_upstreams

__all__ = [
    "InvalidUpstream",
    "NoUpstreams",
    "Upstream",
    "UpstreamFinding",
    "UpstreamReport",
    "UpstreamTransport",
    "examine",
    "parse_upstream",
    "system_upstreams",
]
