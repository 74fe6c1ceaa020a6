"""Numbers of DNSSEC as words for people."""

import datetime as dt
import functools

import dns.dnssectypes
import dns.rdatatype


@functools.lru_cache(None)  # there are 65,536 types, and fewer than a hundred in use
def type_name(rdtype: dns.rdatatype.RdataType) -> str:
    """`MX` for 15; `TYPE65280` when it has no name."""
    return dns.rdatatype.to_text(rdtype)


@functools.lru_cache(None)  # there are 256
def algorithm_name(number: int) -> str:
    """`ECDSAP256SHA256` for 13; the number itself when it has no name."""
    try:
        return dns.dnssectypes.Algorithm(number).name
    except ValueError:
        return f"algorithm {number}"


@functools.lru_cache(None)  # there are 256
def digest_name(number: int) -> str:
    """`SHA256` for 2; the number itself when it has no name."""
    try:
        return dns.dnssectypes.DSDigest(number).name
    except ValueError:
        return f"digest {number}"


@functools.lru_cache(maxsize=4096)  # the dates of signatures, which share few moments
def utc(seconds: float) -> str:
    """A time as ISO 8601 in UTC, to the second."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
