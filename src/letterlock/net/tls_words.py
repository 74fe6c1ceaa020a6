"""Describes in words for people what OpenSSL reports about a TLS session.

Alerts keep their name, because operators search for it; the commonest faults are explained. What is left is OpenSSL's
own short reason, never more: no file, function or number of a library is of use to anybody outside.
"""

import re

from OpenSSL import SSL

EOF = "the peer ended the connection inside TLS without close_notify"
_NO_TLS = "the peer answered with something that is not TLS"
_DAMAGED = "a TLS record was damaged or tampered with on the way"
_BROKEN = "the peer broke the TLS protocol"
_NOTHING_SHARED = "the peer and this server have no {} in common"
_WORDS = {
    "unexpected eof while reading": EOF,
    "wrong version number": _NO_TLS,
    "packet length too long": _NO_TLS,
    "http request": _NO_TLS,
    "https proxy request": _NO_TLS,
    "record layer failure": _BROKEN,
    "decryption failed or bad record mac": _DAMAGED,
    "unexpected message": _BROKEN,
    "length mismatch": _BROKEN,
    "excessive message size": "the peer sent a TLS message that is too long",
    "unsupported protocol": _NOTHING_SHARED.format("TLS version"),
    "no protocols available": _NOTHING_SHARED.format("TLS version"),
    "no shared cipher": _NOTHING_SHARED.format("cipher suite"),
    "no suitable key share": _NOTHING_SHARED.format("key exchange group"),
    "no suitable groups": _NOTHING_SHARED.format("key exchange group"),
    "no suitable signature algorithm": _NOTHING_SHARED.format("signature algorithm"),
    "no shared signature algorithms": _NOTHING_SHARED.format("signature algorithm"),
    "wrong signature type": _NOTHING_SHARED.format("signature algorithm"),
    "bad signature": "the server could not prove that it has the key of its certificate",
    "ee key too small": "the key of the server's certificate is too short for TLS",
    "too many warn alerts": "the peer sent too many TLS alerts",
}
_ALERT = re.compile(r"(?:(?:ssl/tls|tls|sslv3) alert|(?:tlsv1|tlsv13)(?: alert)?) (.+)")


def say(error: SSL.Error) -> str:
    """The failure in one line."""
    if isinstance(error, SSL.SysCallError):
        return EOF
    queue = error.args[0] if error.args and isinstance(error.args[0], list) else []
    faults = dict.fromkeys(_say_reason(entry[2]) for entry in queue if entry[2])
    return "; ".join(faults) or _BROKEN


def _say_reason(reason: str) -> str:
    alert = _ALERT.fullmatch(reason)
    return f"the peer refused with the TLS alert {alert[1]}" if alert else _WORDS.get(reason, reason)
