"""Server cookies (RFC 7873, in the form of RFC 9018): a proof that a client is where its packets say it is."""

import hashlib
import hmac
import os
import struct

_SECRET = os.urandom(32)
"""Made when this module is loaded, before workers are forked: a client's packets reach any of them, with one cookie."""
CLIENT_OCTETS = 8  # of the client's part (RFC 7873 section 4)
SERVER_OCTETS = 16  # of ours (RFC 9018 section 4)
_HASH_OCTETS = 8  # RFC 9018 section 4.4
_PAST_SECONDS, _FUTURE_SECONDS = 3600, 300  # RFC 9018 section 4.3
_HEAD = struct.Struct("!B3xI")  # version and time
_VERSION = 1  # RFC 9018 section 4.1


def server_cookie(client: bytes, address: bytes, now: int) -> bytes:
    """Our part for a client's part, its address and the time."""
    head = _HEAD.pack(_VERSION, now & 0xFFFFFFFF)
    return head + _hash(client, head, address)


def is_ours(cookie: bytes, address: bytes, now: int) -> bool:
    """Whether a whole cookie holds a part that we gave to this address within the last hour."""
    client, ours = cookie[:CLIENT_OCTETS], cookie[CLIENT_OCTETS:]
    if len(ours) != SERVER_OCTETS:
        return False
    head = ours[: _HEAD.size]
    version, made_at = _HEAD.unpack(head)
    age = (now - made_at) & 0xFFFFFFFF
    young = age <= _PAST_SECONDS or age >= (1 << 32) - _FUTURE_SECONDS  # serial numbers (RFC 1982)
    return version == _VERSION and young and hmac.compare_digest(_hash(client, head, address), ours[_HEAD.size :])


def _hash(client: bytes, head: bytes, address: bytes) -> bytes:
    """RFC 9018 uses SipHash, which Python does not offer; no other server shares our secret, so it may be another."""
    return hashlib.blake2s(client + head + address, key=_SECRET, digest_size=_HASH_OCTETS).digest()
