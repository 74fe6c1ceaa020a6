"""Whether a presented chain begins with a key that is known."""

import hashlib
from collections.abc import Collection, Sequence

from letterlock.identity.certificates import InvalidCertificate, read_spki


def key_of(chain: Sequence[bytes]) -> str | None:
    """The SHA-256 of the key in the server's own certificate, in hexadecimal; None where there is none to read."""
    if not chain:
        return None
    try:
        return hashlib.sha256(read_spki(chain[0])).hexdigest()
    except InvalidCertificate:  # no key that could be compared: the chain is judged as if it showed none
        return None


def shows_key(chain: Sequence[bytes], keys: Collection[str]) -> bool:
    """Whether the server's own certificate has one of these keys. That it holds it, the handshake has proven."""
    return bool(keys) and key_of(chain) in keys
