"""Asks DNS for the evidence on a destination, in one fixed order.

Facts only: nothing is decided here, and no failure is turned into an absence. What is asked, and what is rightly not
asked, follows RFC 7672 section 2.2: the MX of the next hop; then, host by host, A and AAAA together (a server without
IPv6 asks for AAAA only where it found no A record); and TLSA only where the addresses are signed, because broken TLSA
servers of unsigned zones are common (RFC 7672 section 2.2.2).
"""

from letterlock.discover.discoverer import MAX_ADDRESSES, Discoverer

__all__ = ["MAX_ADDRESSES", "Discoverer"]
