"""The Sender Rewriting Scheme: forwarded mail gets a reverse-path of ours, so that SPF passes and bounces come back.

`SRS0=hash=time=domain=local@ours` stands for `local@domain`; `SRS1=hash=domain=rest@ours` for an SRS0 address of
another forwarder, so that addresses do not grow with each hop. The hash (HMAC-SHA1, as libsrs2 and PostSRSd make it)
keeps strangers from using us to send to anybody; the time ends it. There is no RFC: the form is that of
Shevek's paper "The Sender Rewriting Scheme" (2004), section 3. Pure: the caller gives the time.
"""

import base64
import hmac
from dataclasses import dataclass, field

from letterlock.mail.addresses import MAX_LOCAL_PART_OCTETS, InvalidAddress, Mailbox, parse_mailbox

HASH_CHARACTERS = 4  # 24 bits, as all implementations write; a guess is one refused RCPT each
MAX_HASH_CHARACTERS = 28  # the whole of SHA-1 in base64: what others may have been set to
VALID_DAYS = 21  # as libsrs2 has it: longer than any queue keeps a message
DAY_SECONDS = 86_400  # SRS counts days
_TIME_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_TIME_MODULUS = len(_TIME_DIGITS) ** 2  # two digits: days repeat after 1,024
_SEPARATORS = "=-+"  # what may follow SRS0 and SRS1; we write the first


class NotOurs(ValueError):
    """An SRS address that we did not make, or not lately; `str()` says why."""


@dataclass(frozen=True, slots=True)
class Srs:
    """The rewriting of one site. `secrets`: the first signs, all verify. `domain` is that of the new addresses."""

    secrets: tuple[bytes, ...] = field(repr=False)
    domain: str
    valid_days: int = VALID_DAYS

    def forward(self, sender: Mailbox, now: float) -> Mailbox | None:
        """The reverse-path under which mail from `sender` is forwarded; None: its local part would be too long."""
        kind, rest = _kind(sender.local_part)
        if kind == "SRS0":
            local_part = self._srs1(sender.domain, rest)
        elif kind == "SRS1" and len(parts := rest[1:].split("=", 2)) == 3 and all(parts):
            local_part = self._srs1(parts[1], parts[2])
        else:
            time = _time(now)
            signed = self._hash(time, sender.domain, sender.local_part)
            local_part = f"SRS0={signed}={time}={sender.domain}={sender.local_part}"
        return _mailbox(local_part, self.domain)

    def _srs1(self, domain: str, rest: str) -> str:
        return f"SRS1={self._hash(domain, rest)}={domain}={rest}"

    def is_ours(self, recipient: Mailbox) -> bool:
        """Whether the address has the form of one that we made, whatever its hash."""
        return recipient.domain == self.domain and bool(_kind(recipient.local_part)[0])

    def reverse(self, recipient: Mailbox, now: float) -> Mailbox:
        """The address that an SRS address of ours stands for. Raises NotOurs."""
        kind, rest = _kind(recipient.local_part)
        if not kind:
            raise NotOurs("it is no SRS address")
        parts = rest[1:].split("=", 3 if kind == "SRS0" else 2)
        if kind == "SRS0":
            if len(parts) != 4 or not all(parts):  # hash, time, domain, local part
                raise NotOurs("it is incomplete")
            signed, time, domain, local_part = parts
            self._check(signed, time, domain, local_part)
            self._check_time(time, now)
        else:
            if len(parts) != 3 or not all(parts) or parts[2][0] not in _SEPARATORS:
                raise NotOurs("it is incomplete")
            signed, domain, tail = parts
            self._check(signed, domain, tail)
            local_part = f"SRS0{tail}"
        try:
            return parse_mailbox(f"{local_part}@{domain}")
        except InvalidAddress as error:
            raise NotOurs(str(error)) from None

    def _hash(self, *signed: str, secret: bytes | None = None, length: int = HASH_CHARACTERS) -> str:
        key = self.secrets[0] if secret is None else secret
        digest = hmac.digest(key, "".join(signed).lower().encode(), "sha1")
        return base64.b64encode(digest, altchars=b"-_").decode()[:length]

    def _check(self, given: str, *signed: str) -> None:
        """Case does not matter: some servers fold local parts. Neither does `+/` for `-_`."""
        if not HASH_CHARACTERS <= len(given) <= MAX_HASH_CHARACTERS or not given.isascii():
            raise NotOurs("its hash is not one of ours")
        normal = given.replace("+", "-").replace("/", "_").lower()
        hashes = [self._hash(*signed, secret=each, length=len(given)).lower() for each in self.secrets]
        if not any(hmac.compare_digest(normal, each) for each in hashes):
            raise NotOurs("its hash is not one of ours")

    def _check_time(self, time: str, now: float) -> None:
        digits = [_TIME_DIGITS.find(each) for each in time.upper()]
        if len(digits) != 2 or min(digits) < 0:
            raise NotOurs("its time cannot be read")
        days = (_day(now) - digits[0] * len(_TIME_DIGITS) - digits[1]) % _TIME_MODULUS
        if days > self.valid_days and days != _TIME_MODULUS - 1:  # one day ahead: clocks differ
            raise NotOurs("it is too old")


def _kind(local_part: str) -> tuple[str, str]:
    """SRS0 or SRS1, and what follows with its separator; "" for any other address."""
    word = local_part[:4].upper()
    if word in ("SRS0", "SRS1") and local_part[4:5] and local_part[4] in _SEPARATORS:
        return word, local_part[4:]
    return "", local_part


def _day(now: float) -> int:
    return int(now // DAY_SECONDS) % _TIME_MODULUS


def _time(now: float) -> str:
    day = _day(now)
    return _TIME_DIGITS[day // len(_TIME_DIGITS)] + _TIME_DIGITS[day % len(_TIME_DIGITS)]


def _mailbox(local_part: str, domain: str) -> Mailbox | None:
    if len(local_part.encode()) > MAX_LOCAL_PART_OCTETS:
        return None
    try:
        return parse_mailbox(f"{local_part}@{domain}")
    except InvalidAddress:  # a quoted local part inside another: it cannot be written
        return None
