"""How a certificate chain can fail to prove whose it is."""

from enum import StrEnum


class MismatchKind(StrEnum):
    """Why a chain does not speak for the server, from the farthest to the nearest miss."""

    NO_CERTIFICATE = "no-certificate"  # nothing was presented: an anonymous session (RFC 7672 section 8.2)
    MALFORMED = "malformed"
    NO_MATCH = "no-match"  # no record names a certificate or key of the chain
    UNTRUSTED = "untrusted"  # no valid path to the trust anchor
    EXPIRED = "expired"  # there is a path, but for the dates
    WRONG_NAME = "wrong-name"  # the path holds, for another name
