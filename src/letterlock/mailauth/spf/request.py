"""What SPF is asked about: a client, and the identity that it claims (RFC 7208 section 2)."""

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address

from letterlock.mail.names import InvalidName, normalise

Client = IPv4Address | IPv6Address
MIN_LABELS = 2  # section 4.3: a name of one label has no record


class Identity(StrEnum):
    """Which identity is checked, in the words of Received-SPF and of DMARC reports."""

    HELO = "helo"
    MAIL_FROM = "mfrom"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One check. `domain` is the identity's domain as it was given; `helo` is what %{h} becomes.

    `receiver` is this host's name (%{r}) and `now` the time in seconds since 1970 (%{t}); only explanations use them.
    """

    client: Client
    identity: Identity
    domain: str
    local_part: str
    helo: str
    receiver: str = "unknown"
    now: float = 0

    @property
    def sender(self) -> str:
        """The whole address, %{s}."""
        return f"{self.local_part}@{self.domain}"


def client_address(text: str) -> Client:
    """The address of a client; IPv4 inside of IPv6 is IPv4 (section 5). Raises ValueError."""
    address = ip_address(text)
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def helo_request(client: str, helo: str, *, receiver: str = "unknown", now: float = 0) -> Request:
    """A check of the HELO identity (section 2.3). `now` is in seconds since 1970.

    Raises ValueError for what is no IP address.
    """
    return Request(
        client=client_address(client),
        identity=Identity.HELO,
        domain=a_label_name(helo),
        local_part="postmaster",
        helo=helo,
        receiver=receiver,
        now=now,
    )


def mail_from_request(
    client: str, reverse_path: str, helo: str, *, receiver: str = "unknown", now: float = 0
) -> Request:
    """A check of the MAIL FROM identity (section 2.4). Raises ValueError for what is no IP address.

    `reverse_path` is the mailbox without angle brackets; for the null reverse-path it is postmaster at the HELO name.
    `now` is in seconds since 1970.
    """
    local_part, _, domain = (reverse_path or helo).rpartition("@")
    return Request(
        client=client_address(client),
        identity=Identity.MAIL_FROM,
        domain=a_label_name(domain),
        local_part=local_part or "postmaster",
        helo=helo,
        receiver=receiver,
        now=now,
    )


def a_label_name(domain: str) -> str:
    """A domain without its final dot; U-labels become A-labels where that is possible (section 4.3)."""
    if domain.isascii():
        return domain.removesuffix(".")
    try:
        return normalise(domain)
    except InvalidName:  # the check finds that it has no record (section 4.3)
        return domain
