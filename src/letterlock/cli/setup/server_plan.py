"""What a mail server for one domain consists of: files, configuration, and the records that it publishes. Pure."""

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from letterlock.app.output import json_text

CONFIGURATION, CERTIFICATE, CERTIFICATE_KEY = "letterlock.toml", "cert.pem", "key.pem"
USERS, MAILBOXES, ALIASES = "users", "mailboxes", "aliases"
ROLES = ("postmaster", "abuse")  # RFC 5321 section 4.5.1, RFC 2142 section 2
SELECTORS = {"rsa": "rsa1", "ed25519": "ed1"}  # selectors by algorithm; a number, as keys are changed one day
DOVECOT_SOCKET = "/run/dovecot/lmtp"
MAILDIRS = "/var/mail/letterlock"
MX_PREFERENCE = 10  # customary, with room for a host before it; of one host the number is immaterial


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerPlan:
    """One server for one domain. `directory` is for the configuration, `queue` for mail; it ends at `next_hop`."""

    domain: str
    hostname: str
    directory: Path
    queue: Path
    next_hop: str
    addresses: tuple[str, ...] = ()
    users: tuple[str, ...] = ()

    def dkim_file(self, algorithm: str) -> Path:
        """Where a key that signs is."""
        return self.directory / f"dkim-{SELECTORS[algorithm]}.pem"


@dataclass(frozen=True, slots=True)
class DnsRecord:
    """A record to publish. `needed`: mail does not work without it."""

    name: str
    rdtype: str
    data: str
    needed: bool = True


def configuration(plan: ServerPlan) -> str:
    """The configuration file."""
    text, directory = json_text, plan.directory
    selectors = ", ".join(
        f"{selector} = {text(str(plan.dkim_file(algorithm)))}" for algorithm, selector in SELECTORS.items()
    )
    maildir = plan.next_hop.startswith("maildir:")
    mailboxes = "create_mailboxes = true\n" if maildir else ""
    return f"""\
# Written by `letterlock setup {plan.domain}`. All keys: docs/reference/configuration.md, or `letterlock config show`.
hostname = {text(plan.hostname)}

[smtp]
certificate = {text(str(directory / CERTIFICATE))}
key = {text(str(directory / CERTIFICATE_KEY))}

[queue]
directory = {text(str(plan.queue))}

# Mail for {plan.domain} from everybody:
[[listener]]
role = "mx"
listen = ["0.0.0.0:25", "[::]:25"]
domains = [{text(plan.domain)}]

# Mail from your users, who log in (`letterlock users`):
[[listener]]
role = "submissions"
listen = ["0.0.0.0:465", "[::]:465"]

[[listener]]
role = "submission"
listen = ["0.0.0.0:587", "[::]:587"]

# Mail from programs on this machine:
[[listener]]
role = "relay"
listen = ["127.0.0.1:2525"]

[accounts]
file = {text(str(directory / USERS))}

# Who has mail here, a name or address per line; and other names, as in aliases(5).
[table.mailboxes]
file = {text(str(directory / MAILBOXES))}

[table.aliases]
file = {text(str(directory / ALIASES))}

[local.{text(plan.domain)}]
aliases = ["aliases"]
mailboxes = ["mailboxes"]

[route.{text(plan.domain)}]
next_hop = {text(plan.next_hop)}
{mailboxes}
[dkim.{text(plan.domain)}]
selectors = {{ {selectors} }}
"""


def mailboxes(plan: ServerPlan, present: str) -> str:
    """The table of mailboxes: what is in it already, and the users."""
    names = dict.fromkeys([*present.splitlines(), *plan.users])
    return "".join(f"{name}\n" for name in names)


def aliases(plan: ServerPlan) -> str:
    """The roles that every domain has, as other names of the first user."""
    return "".join(f"{role}: {plan.users[0]}\n" for role in ROLES if role not in plan.users)


def records(plan: ServerPlan, dkim: Mapping[str, str], tlsa: str) -> Iterator[DnsRecord]:
    """What to publish. `dkim`: TXT data by selector; `tlsa`: the record of the certificate's key."""
    yield DnsRecord(plan.domain, "MX", f"{MX_PREFERENCE} {plan.hostname}.")
    for address in plan.addresses:
        yield DnsRecord(plan.hostname, "AAAA" if ":" in address else "A", address)
    for address in plan.addresses:
        yield DnsRecord(ipaddress.ip_address(address).reverse_pointer, "PTR", f"{plan.hostname}.")
    yield DnsRecord(plan.domain, "TXT", "v=spf1 mx -all")
    yield DnsRecord(plan.hostname, "TXT", "v=spf1 a -all", needed=False)  # of HELO, RFC 7208 section 2.3
    for selector, data in dkim.items():
        yield DnsRecord(f"{selector}._domainkey.{plan.domain}", "TXT", data)
    yield DnsRecord(f"_dmarc.{plan.domain}", "TXT", f"v=DMARC1; p=none; rua=mailto:postmaster@{plan.domain}")
    yield DnsRecord(f"_25._tcp.{plan.hostname}", "TLSA", tlsa, needed=False)  # counts in a signed zone only
    yield DnsRecord(
        f"_smtp._tls.{plan.domain}", "TXT", f"v=TLSRPTv1; rua=mailto:postmaster@{plan.domain}", needed=False
    )
    for service, port in (("submissions", 465), ("submission", 587)):  # RFC 6186 and RFC 8314 section 5.1
        yield DnsRecord(f"_{service}._tcp.{plan.domain}", "SRV", f"0 1 {port} {plan.hostname}.", needed=False)


def zone_text(found: Iterator[DnsRecord]) -> Iterator[str]:
    """Records as lines of a zone file."""
    for each in found:
        data = each.data
        if each.rdtype == "TXT":
            parts = [data[at : at + 255] for at in range(0, len(data), 255)]  # of a string, RFC 1035 section 3.3
            data = " ".join(f'"{part}"' for part in parts)
        yield f"{each.name}. IN {each.rdtype} {data}"
