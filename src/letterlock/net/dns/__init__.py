"""Queries to upstream resolvers: UDP, TCP and TLS (RFC 1035 section 4.2, RFC 5452, RFC 7766, RFC 7858).

    async with aclosing(UpstreamTransport([parse_upstream("192.0.2.53")])) as transport:
        resolver = Resolver(transport)

An upstream brings data and signatures, none of which is trusted; so all that matters here is that answers
come, soon, and to the question that was asked. Every UDP query has a socket, and so a port, of its own; what does not
answer it exactly is passed over and counted, and when there is much of it the query moves to TCP, where nobody can
guess. TCP and TLS connections are kept and carry many queries at once. The quickest upstream is asked first;
one that is late is not waited for, but heard when it answers after all. One deadline bounds it all.

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
