"""What has to change so that Postfix uses the doors. Nothing here reads or writes anything."""

import ipaddress
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from letterlock.companion.postfix_facts import PostfixFacts, nameservers

POLICY_PLACE = "127.0.0.1:8642"  # the port of postfix-tlspol, so that its users change nothing
RELAY_PLACE = "127.0.0.1:2525"  # where `[smtp] listen` is by default
DNS_PLACE = "127.0.0.1:53"
CA_FILE = "/etc/ssl/certs/ca-certificates.crt"  # of Debian's ca-certificates
REPORTING_VERSION = (3, 10)  # the first Postfix that reads policy_type and the like
_BOUNDS_VERSION = (3, 6)  # the first Postfix that reads `>=` before a TLS version (postconf(5))
_FIXED: Mapping[tuple[int, ...], int] = {(3, 6): 17, (3, 7): 13, (3, 8): 8, (3, 9): 2}
"""The first patch level whose smtp_tls_dane_insecure_mx_policy is right whatever the security level; since 3.10 all."""
RESOLVER_OPTIONS = "options edns0 trust-ad"
"""Without them glibc hides the AD bit from programs that do not ask for it, such as Exim (resolv.conf(5))."""
_WEAK = ("", "none", "may")


class Door(StrEnum):
    """A door of Letterlock for Postfix."""

    RESOLVER = "resolver"
    POLICY = "policy"
    RELAY = "relay"


@dataclass(frozen=True, slots=True)
class SetupPlan:
    """Parameters of main.cf with their new values, files with their new texts, and what people should know."""

    parameters: Mapping[str, str]
    files: Mapping[Path, str]
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Draft:
    parameters: dict[str, str] = field(default_factory=dict)
    files: dict[Path, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class CannotPlan(ValueError):
    """A file is not as it can be changed. `str()` says which, and what to do."""


def plan(
    facts: PostfixFacts, doors: Sequence[Door], *, config: Path, config_text: str | None, resolv_conf: Path
) -> SetupPlan:
    """What `letterlock companion enable` changes. Raises CannotPlan."""
    draft = _Draft()
    if Door.RESOLVER in doors:
        _resolver(facts, draft, resolv_conf)
    if Door.POLICY in doors:
        _policy(facts, draft, alone=Door.RESOLVER not in doors)
    if Door.RELAY in doors:
        _relay(facts, draft)
    draft.files[config] = _configuration(facts, doors, config_text, draft)
    changed = {name: value for name, value in draft.parameters.items() if facts.written.get(name) != value}
    return SetupPlan(changed, draft.files, tuple(draft.notes))


def _resolver(facts: PostfixFacts, draft: _Draft, resolv_conf: Path) -> None:
    held = facts.parameters
    draft.parameters["smtp_dns_support_level"] = "dnssec"
    if held["smtp_tls_security_level"] in _WEAK:
        draft.parameters["smtp_tls_security_level"] = "dane"
    elif held["smtp_tls_security_level"] not in ("dane", "dane-only"):
        level = held["smtp_tls_security_level"]
        draft.notes.append(f"smtp_tls_security_level stays {level}: where DANE covers a part, `dane` asks for less")
    if not has_fixed_mx_policy(facts.version):
        draft.parameters["smtp_tls_dane_insecure_mx_policy"] = "dane"
    if "dns" not in re.split(r"[,\s]+", held["smtp_host_lookup"]):
        draft.parameters["smtp_host_lookup"] = "dns"
    if "smtp_tls_mandatory_protocols" not in facts.written:
        draft.parameters["smtp_tls_mandatory_protocols"] = _mandatory_protocols(facts.version)
    text = _resolv_text(facts.resolv_conf)
    draft.files[resolv_conf] = text
    if facts.chrooted:
        draft.files[facts.chroot_resolv_path] = text


def has_fixed_mx_policy(version: tuple[int, ...]) -> bool:
    """Whether smtp_tls_dane_insecure_mx_policy is right by default."""
    least = _FIXED.get(version[:2])
    return version >= REPORTING_VERSION if least is None else version[2] >= least


def _mandatory_protocols(version: tuple[int, ...]) -> str:
    """TLS 1.2 and later (RFC 8996), in the words of that version; Postfix' own default begins with TLS 1.0."""
    return ">=TLSv1.2" if version >= _BOUNDS_VERSION else "!SSLv2, !SSLv3, !TLSv1, !TLSv1.1"


def _resolv_text(before: str | None) -> str:
    """The same with our door as the only name server: with a second one, a program asks it when ours is stopped."""
    kept = [line for line in (before or "").splitlines() if line.split()[:1] != ["nameserver"]]
    options = [] if any("trust-ad" in line for line in kept) else [RESOLVER_OPTIONS]
    return "\n".join([f"nameserver {DNS_PLACE.rpartition(':')[0]}", *options, *kept]) + "\n"


def _policy(facts: PostfixFacts, draft: _Draft, *, alone: bool) -> None:
    name = "QUERYwithTLSRPT" if facts.version >= REPORTING_VERSION else "QUERY"
    own = f"socketmap:inet:{POLICY_PLACE}:{name}"
    others = [each for each in _maps(facts.parameters["smtp_tls_policy_maps"]) if "socketmap:" not in each]
    draft.parameters["smtp_tls_policy_maps"] = ", ".join([*others, own])
    if not (facts.parameters["smtp_tls_CAfile"] or facts.parameters["smtp_tls_CApath"]):
        draft.parameters["smtp_tls_CAfile"] = CA_FILE
    if alone:
        draft.parameters["smtp_tls_fingerprint_digest"] = "sha256"
        if facts.parameters["smtp_tls_security_level"] in ("", "none"):
            draft.parameters["smtp_tls_security_level"] = "may"


def _relay(facts: PostfixFacts, draft: _Draft) -> None:
    maps = [each for each in _maps(facts.parameters["transport_maps"]) if POLICY_PLACE not in each]
    draft.parameters["transport_maps"] = ", ".join([*maps, f"socketmap:inet:{POLICY_PLACE}:transport"])
    tables = [
        name
        for name in ("mydestination", "virtual_alias_domains", "virtual_mailbox_domains", "relay_domains")
        if any(":" in each for each in _maps(facts.parameters[name]))
    ]
    if tables:
        what = ", ".join(tables)
        draft.notes.append(f"{what} is a table: add its domains to [policy_server] local_domains yourself")


def _maps(text: str) -> list[str]:
    return [each for each in re.split(r"[,\s]+", text) if each]


def local_domains(facts: PostfixFacts) -> list[str]:
    """The domains that Postfix delivers itself or takes mail for, as far as main.cf lists them."""
    found: dict[str, None] = {}
    for name in ("mydestination", "virtual_alias_domains", "virtual_mailbox_domains", "relay_domains"):
        for each in _maps(facts.parameters[name]):
            domain = each.replace("$myhostname", facts.parameters["myhostname"])
            if re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", domain):
                found[domain.lower()] = None
    return list(found)


def _configuration(facts: PostfixFacts, doors: Sequence[Door], text: str | None, draft: _Draft) -> str:
    """The configuration of Letterlock with the keys for the doors. Keys that are there are left as they are."""
    wanted: dict[str, dict[str, object]] = {"resolver": {}, "policy_server": {}}
    if Door.RESOLVER in doors:
        wanted["resolver"]["listen"] = [DNS_PLACE]
    upstreams = _upstreams(facts, draft) if Door.RESOLVER in doors else ()
    if upstreams:
        wanted["resolver"]["upstream"] = list(upstreams)
    if Door.POLICY in doors or Door.RELAY in doors:
        wanted["policy_server"]["listen"] = [POLICY_PLACE]
    if Door.POLICY in doors and Door.RESOLVER not in doors:
        wanted["policy_server"]["answer"] = "fingerprint"
    if Door.RELAY in doors:
        wanted["policy_server"]["local_domains"] = local_domains(facts)
    return with_keys(text or "", wanted)


def _upstreams(facts: PostfixFacts, draft: _Draft) -> tuple[str, ...]:
    """The resolvers that Letterlock asks, now that resolv.conf leads to itself."""
    stub = "127.0.0.53"
    found = tuple(each for each in nameservers(facts.resolv_conf) if not _is_ours(each))
    if stub in found:
        draft.notes.append(
            f"the upstream {stub} (systemd-resolved) strips signatures: name your network's resolver in "
            "[resolver] upstream instead (`resolvectl dns` shows it), or the check will fail"
        )
    if not found:
        draft.notes.append("resolv.conf names no other resolver: set [resolver] upstream")
    return found


def _is_ours(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]) == ipaddress.ip_address("127.0.0.1")
    except ValueError:
        return True  # no address: nothing to ask


def with_keys(text: str, wanted: Mapping[str, Mapping[str, object]]) -> str:
    """A TOML text with more keys, each at the top of its table, and all else as it was. Raises CannotPlan."""
    try:
        present = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CannotPlan(f"the configuration is not TOML ({error}): correct it first") from None
    for table, keys in wanted.items():
        if not isinstance(present.get(table, {}), dict):
            raise CannotPlan(f"`{table}` is no table in the configuration: it is written [{table}]")
        missing = {name: value for name, value in keys.items() if name not in present.get(table, {})}
        lines = [f"{name} = {_toml(value)}" for name, value in missing.items()]
        if not lines:
            continue
        head = re.search(rf"^[ \t]*\[{table}\][ \t]*(#.*)?$", text, re.MULTILINE)
        if head is None:
            text = f"{text.rstrip()}\n\n[{table}]\n".lstrip() + "\n".join(lines) + "\n"
        else:
            text = text[: head.end()] + "\n" + "\n".join(lines) + text[head.end() :]
    return text


def _toml(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"'
