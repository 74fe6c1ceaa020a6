"""What keeps a Postfix from enforcing what the doors answer, each with the command that repairs it.

From facts alone: nothing here reads or asks anything.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from letterlock.companion.postfix_facts import PostfixFacts, nameservers
from letterlock.companion.setup_plan import CA_FILE, DNS_PLACE, POLICY_PLACE, REPORTING_VERSION, has_fixed_mx_policy

DNS_ADDRESS = DNS_PLACE.rpartition(":")[0]
_STUB = "127.0.0.53"  # of systemd-resolved
_SET_UP = "letterlock companion enable --apply"  # it writes both files, and keeps what was there
_STRONGER = ("encrypt", "verify", "secure", "fingerprint")
_SOCKETMAP = re.compile(r"(proxy:)?socketmap:(inet|unix):(\S+):([^:\s,]+)")
_LOWERING = ("smtp_tls_security_level", "smtp_tls_policy_maps", "smtp_dns_support_level", "smtp_tls_wrappermode")


@dataclass(frozen=True, slots=True)
class Trap:
    """One thing that was looked at. `level`: ok, note or problem; `repair` is a command for a problem."""

    level: str
    text: str
    repair: str = ""


def traps(facts: PostfixFacts, *, resolver: bool, policy: bool, fingerprints: bool) -> Iterator[Trap]:
    """Look at everything. `resolver`, `policy`: the doors that are configured; `fingerprints`: what one answers."""
    version = facts.parameters["mail_version"]
    yield Trap("ok", f"Postfix {version}, compatibility_level {facts.parameters['compatibility_level']}")
    if resolver:
        yield from _dane(facts)
        yield from _resolv_conf(facts)
    if policy:
        yield from _policy_map(facts)
        yield from _authorities(facts)
    if fingerprints:
        yield from _digest(facts)
    yield from _overrides(facts)


def _dane(facts: PostfixFacts) -> Iterator[Trap]:
    held = facts.parameters
    if held["smtp_dns_support_level"] == "dnssec":
        yield Trap("ok", "smtp_dns_support_level = dnssec: smtp(8) asks for the AD bit")
    else:
        text = "smtp(8) does not ask for the AD bit, so there is no DANE"
        yield Trap("problem", text, "postconf -e smtp_dns_support_level=dnssec && postfix reload")
    level = held["smtp_tls_security_level"]
    if level in ("dane", "dane-only"):
        yield Trap("ok", f"smtp_tls_security_level = {level}")
    elif level in _STRONGER:
        yield Trap(
            "note",
            f"smtp_tls_security_level = {level}: for domains that DANE covers in part the policy door answers `dane`, "
            'which asks for less; a rule [domain."*"] tls = "require-tls" keeps encryption mandatory',
        )
    else:
        text = f"smtp_tls_security_level = {level or 'empty'}: hosts with TLSA records are not authenticated"
        yield Trap("problem", text, "postconf -e smtp_tls_security_level=dane && postfix reload")
    if held["smtp_tls_dane_insecure_mx_policy"] != "dane" or (
        not has_fixed_mx_policy(facts.version) and "smtp_tls_dane_insecure_mx_policy" not in facts.written
    ):
        text = "TLSA records behind an unsigned MX record are not enforced (smtp_tls_dane_insecure_mx_policy)"
        yield Trap("problem", text, "postconf -e smtp_tls_dane_insecure_mx_policy=dane && postfix reload")
    if "dns" not in re.split(r"[,\s]+", held["smtp_host_lookup"]):
        text = f"smtp_host_lookup = {held['smtp_host_lookup']}: without dns there is no DANE"
        yield Trap("problem", text, "postconf -e smtp_host_lookup=dns && postfix reload")


def _resolv_conf(facts: PostfixFacts) -> Iterator[Trap]:
    yield from _one_resolv_conf("/etc/resolv.conf", facts.resolv_conf)
    if not facts.chrooted:
        yield Trap("ok", "smtp(8) is not chrooted")
        return
    path = str(facts.chroot_resolv_path)
    if facts.chroot_resolv_conf is None:
        text = f"{' and '.join(facts.chrooted)} run chrooted, and there is no {path}: nothing can be looked up"
        yield Trap("problem", text, _SET_UP)
        return
    yield from _one_resolv_conf(path, facts.chroot_resolv_conf)


def _one_resolv_conf(path: str, text: str | None) -> Iterator[Trap]:
    servers = nameservers(text)
    if servers == (DNS_ADDRESS,):
        yield Trap("ok", f"{path} leads to the resolver door alone")
    elif _STUB in servers:
        text = f"{path} leads to systemd-resolved ({_STUB}), which does not pass on what DANE needs"
        yield Trap("problem", text, _SET_UP)
    elif DNS_ADDRESS in servers:
        others = ", ".join(each for each in servers if each != DNS_ADDRESS)
        text = f"{path} also names {others}: smtp(8) believes its AD bit when it asks there"
        yield Trap("problem", text, _SET_UP)
    else:
        named = ", ".join(servers) or "nobody"
        text = f"{path} names {named}: smtp(8) believes that resolver's AD bit, and ours is not asked"
        yield Trap("problem", text, _SET_UP)


def _policy_map(facts: PostfixFacts) -> Iterator[Trap]:
    maps = facts.parameters["smtp_tls_policy_maps"]
    new = facts.version >= REPORTING_VERSION
    name = "QUERYwithTLSRPT" if new else "QUERY"
    right = f"postconf -e smtp_tls_policy_maps=socketmap:inet:{POLICY_PLACE}:{name} && postfix reload"
    found = list(_SOCKETMAP.finditer(maps))
    if not found:
        yield Trap("problem", "smtp_tls_policy_maps does not ask the policy door", right)
        return
    if len(found) > 1:
        yield Trap("note", f"smtp_tls_policy_maps asks several servers, the first that answers counts: {maps}")
    proxy, kind, place, word = found[0].groups()
    if proxy:
        text = "proxy: lets one proxymap(8) process ask for all, one after the other, and hides which client asks"
        yield Trap("problem", text, right)
    if kind == "unix" and facts.chrooted and not place.startswith(str(facts.queue_directory)):
        text = f"smtp(8) is chrooted in {facts.queue_directory} and cannot see the socket {place}"
        yield Trap("problem", text, right)
    if word == "QUERYwithTLSRPT" and not new:
        text = f"Postfix {facts.parameters['mail_version']} rejects the answers of QUERYwithTLSRPT: all such mail waits"
        yield Trap("problem", text, right)
    elif word == "QUERY" and new:
        yield Trap("note", f"QUERYwithTLSRPT would also tell Postfix which MX hosts a policy allows: {right}")
    elif word in ("QUERY", "QUERYwithTLSRPT"):
        yield Trap("ok", f"smtp_tls_policy_maps asks the policy door for {word}")
    else:
        yield Trap("problem", f"the policy door has no map {word} for TLS policies", right)


def _authorities(facts: PostfixFacts) -> Iterator[Trap]:
    held = facts.parameters
    where = held["smtp_tls_CAfile"] or held["smtp_tls_CApath"]
    if where:
        yield Trap("ok", f"authorities for MTA-STS: {where}")
        return
    text = "smtp_tls_CAfile is empty: no certificate can be verified, and all mail to domains with MTA-STS waits"
    yield Trap("problem", text, f"postconf -e smtp_tls_CAfile={CA_FILE} && postfix reload")


def _digest(facts: PostfixFacts) -> Iterator[Trap]:
    digest = facts.parameters["smtp_tls_fingerprint_digest"]
    if "sha256" in digest.lower():
        yield Trap("ok", f"smtp_tls_fingerprint_digest = {digest}")
        return
    text = f"smtp_tls_fingerprint_digest = {digest}: no TLSA record has this digest, and all such mail waits"
    yield Trap("problem", text, "postconf -e smtp_tls_fingerprint_digest=sha256 && postfix reload")


def _overrides(facts: PostfixFacts) -> Iterator[Trap]:
    for place, value in facts.overrides.items():
        service, _, name = place.rpartition("/")
        if name in _LOWERING:
            text = f"master.cf sets {name} = {value} for {service}, whatever main.cf says"
            yield Trap("problem", text, f"postconf -PX {place} && postfix reload")
