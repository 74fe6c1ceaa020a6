"""What each parameter of Postfix is here: a key, nothing that needs one, or nothing at all. Pure, but for tables.

Every parameter that is set gets exactly one note, so that nothing is lost without a word.
"""

import ipaddress
from collections.abc import Callable, Iterable, Mapping

from letterlock.app.output import json_text
from letterlock.cli.importing.postfix_access import CHECKS, access_rules
from letterlock.cli.importing.postfix_addresses import address_of, next_hop_of
from letterlock.cli.importing.postfix_domains import OF_LOCAL_DOMAINS, TEXT_TABLES, PostfixDomains
from letterlock.cli.importing.postfix_files import (
    PostfixParameter,
    PostfixService,
    expanded,
    seconds,
    table_entries,
    words,
)
from letterlock.cli.importing.postfix_names import HARMLESS, HINTS, INHERENT
from letterlock.cli.importing.translation import Translation, TranslationFate
from letterlock.config.recipient_rule_tables import WIDEST_PREFIX

PASSWORD_FILE = "/etc/letterlock/smarthost.password"  # noqa: S105  # a place, not a password
MIN_RECIPIENTS = 100  # RFC 5321 section 4.5.3.1.8
PERMITS: dict[str, dict[str, object] | None] = {"permit_sasl_authenticated": {"user": "*"}, "permit_mynetworks": None}
SYSTEM_AUTHORITIES = ("/etc/ssl/certs", "/etc/pki/tls/certs", "/etc/ssl/cert.pem")  # of Debian, Fedora and FreeBSD
_LEVELS = {"encrypt": "require-tls", "verify": "verify", "secure": "verify", "dane-only": "dane-only"}
_DEFAULT_LEVELS = ("none", "may", "dane", "half-dane")


class PostfixTranslator:
    """Translates one configuration. `read_table` reads the text of a table's file; None: it cannot be read."""

    def __init__(
        self,
        main: Mapping[str, PostfixParameter],
        services: Iterable[PostfixService],
        read_table: Callable[[str], str | None],
        hostname: str,
    ) -> None:
        self.made = Translation()
        self._main = main
        self._services = [*services]
        self._tables_text = read_table
        self._domains = PostfixDomains(self)
        defaults = {"myhostname": hostname, "mydomain": hostname.partition(".")[2] or hostname}
        defaults["myorigin"] = "$myhostname"
        defaults["alias_maps"] = "hash:/etc/aliases"
        defaults["mydestination"] = "$myhostname, localhost.$mydomain, localhost"
        self._known = defaults | {name: each.value for name, each in main.items()}
        if "myhostname" in main and "mydomain" not in main:
            self._known["mydomain"] = main["myhostname"].value.partition(".")[2]
        self._seen: set[str] = set()
        self._told: set[str] = set()
        self._told_lost: set[tuple[str, str]] = set()

    def value(self, name: str) -> str:
        """A parameter with everything expanded; "" if it is not set."""
        self._seen.add(name)
        return expanded(self._known.get(name, ""), self._known)

    def has(self, name: str) -> bool:
        """Whether main.cf sets it."""
        return name in self._main

    def read_table(self, path: str) -> str | None:
        """The text of a table's file."""
        return self._tables_text(path)

    def translate(self) -> Translation:
        """All of it."""
        for step in (self._top, self._limits, self._tls, self._listeners, self._rules, self._routes, self._filters):
            step()
        noted = {note.name for note in self.made.notes}
        for name, parameter in self._main.items():
            if name not in noted:
                self.made.note(parameter, *self._fate(name, parameter.value))
        return self.made

    def _fate(self, name: str, value: str) -> tuple[TranslationFate, str]:
        """What became of a parameter that no step took."""
        if name in ("smtp_tls_CAfile", "smtp_tls_CApath") and value.startswith(SYSTEM_AUTHORITIES):
            return TranslationFate.NEEDLESS, "the system's authorities are the default"
        if name in OF_LOCAL_DOMAINS and not (self._domains.local() or self._domains.all_tables()):
            return TranslationFate.NEEDLESS, "no domain is local: see [local] for one whose recipients are known here"
        if name in HARMLESS:
            return TranslationFate.NEEDLESS, "holds here anyway, or concerns Postfix's own files"
        if name in self._seen:
            return (
                (TranslationFate.TRANSLATED, "taken into account")
                if value
                else (TranslationFate.NEEDLESS, "it is empty")
            )
        if self._is_variable(name):
            return TranslationFate.TRANSLATED, "used in other values"
        return TranslationFate.LOST, HINTS.get(name, "there is no such key here")

    def _is_variable(self, name: str) -> bool:
        """Whether the administrator made it up, for use in other values."""
        uses = (f"${name}", f"${{{name}", f"$({name})")
        return any(use in each.value for each in self._main.values() for use in uses)

    def done(self, name: str, text: str) -> None:
        """It was translated; the first word counts."""
        if name in self._main and name not in self._told:
            self._told.add(name)
            self.made.note(self._main[name], TranslationFate.TRANSLATED, text)

    def lost(self, name: str, text: str) -> None:
        """It, or a part of it, was not translated."""
        if name in self._main and (name, text) not in self._told_lost:
            self._told_lost.add((name, text))
            self.made.note(self._main[name], TranslationFate.LOST, text)

    # --- one value, one key ------------------------------------------------------------------------------------------

    def _top(self) -> None:
        self.made.set("", "hostname", self.value("myhostname"))
        self.done("myhostname", "hostname")
        self.made.set("queue", "directory", "/var/lib/letterlock")

    def _limits(self) -> None:
        numbers = {
            "message_size_limit": ("smtp", "max_message_octets"),
            "smtpd_client_connection_count_limit": ("smtp", "max_connections_per_client"),
            "queue_minfree": ("queue", "min_free_octets"),
            "default_destination_concurrency_limit": ("delivery", "max_concurrent_per_destination"),
            "smtp_destination_concurrency_limit": ("delivery", "max_concurrent_per_destination"),
        }
        for name, (section, key) in numbers.items():
            if name in self._main:
                self._number(name, section, key)
        if "smtpd_recipient_limit" in self._main:
            self._number("smtpd_recipient_limit", "smtp", "max_recipients", MIN_RECIPIENTS)
        times = {
            "maximal_queue_lifetime": ("lifetime_seconds", "d"),
            "minimal_backoff_time": ("retry_first_seconds", "s"),
            "maximal_backoff_time": ("retry_max_seconds", "s"),
            "delay_warning_time": ("delay_notice_seconds", "h"),
        }
        for name, (key, unit) in times.items():
            if name in self._main:
                self._time(name, key, unit)
        if sources := [value for name in ("smtp_bind_address", "smtp_bind_address6") if (value := self.value(name))]:
            self.made.set("delivery", "source_address", sources)
            self.done("smtp_bind_address", "delivery.source_address")
            self.done("smtp_bind_address6", "delivery.source_address")
        if own := words(self.value("proxy_interfaces")):
            self.made.set("smtp", "own_addresses", own)
            self.done("proxy_interfaces", "smtp.own_addresses")

    def _number(self, name: str, section: str, key: str, least: int = 1) -> None:
        value = self.value(name)
        if not value.isdecimal() or int(value) == 0:
            self.lost(name, f"{value!r}: {section}.{key} needs a number")
            return
        self.made.set(section, key, max(least, int(value)))
        self.done(name, f"{section}.{key}" + (f", at least {least}" if int(value) < least else ""))

    def _time(self, name: str, key: str, unit: str) -> None:
        found = seconds(self.value(name), unit)
        if found is None:
            self.lost(name, f"{self.value(name)!r} is not a time")
            return
        self.made.set("queue", key, int(found))
        self.done(name, f"queue.{key}")

    def _tls(self) -> None:
        chain = words(self.value("smtpd_tls_chain_files"))
        certificate, key = self.value("smtpd_tls_cert_file"), self.value("smtpd_tls_key_file")
        if len(chain) > 1:
            key, certificate = chain[0], chain[1]
            self.done("smtpd_tls_chain_files", "smtp.certificate and smtp.key")
        elif chain:
            key = certificate = chain[0]
            self.done("smtpd_tls_chain_files", "smtp.certificate and smtp.key: one file for both")
        if certificate:
            self.made.set("smtp", "certificate", certificate)
            self.made.set("smtp", "key", key if key and key != "$smtpd_tls_cert_file" else certificate)
            self.done("smtpd_tls_cert_file", "smtp.certificate")
            self.done("smtpd_tls_key_file", "smtp.key")
        level = self.value("smtpd_tls_security_level")
        if level in ("", "may"):
            self.done("smtpd_tls_security_level", "TLS is offered wherever there is a certificate")
        else:
            self.lost(
                "smtpd_tls_security_level", f"{level}: a server for everybody cannot demand TLS (RFC 3207 section 4)"
            )

    # --- listeners ---------------------------------------------------------------------------------------------------

    def _listeners(self) -> None:
        domains = [*self._domains.local(), *self._domains.named("relay_domains")]
        tables = self._domains.all_tables()
        networks = self._networks()
        public = "mx" if domains or tables else "relay"
        roles = {"smtp": (public, 25), "25": (public, 25),
                 "submission": ("submission", 587), "587": ("submission", 587), "smtps": ("submissions", 465),
                 "submissions": ("submissions", 465), "465": ("submissions", 465)}  # fmt: skip
        for service in self._services:
            if service.kind != "inet":
                continue
            role = roles.get(service.name.rpartition(":")[2])
            if service.program not in ("smtpd", "postscreen") or role is None:
                self.made.note(service, TranslationFate.LOST, f"there is no listener like this {service.program}")
                continue
            self._listener(service, *role, domains=domains, tables=tables, networks=networks)
        if domains or tables:
            self._domains.set_recipients()

    def _listener(
        self,
        service: PostfixService,
        role: str,
        port: int,
        *,
        domains: list[str],
        tables: list[str],
        networks: list[str] | None,
    ) -> None:
        section = f"[listener]#{role}"
        self.made.set(section, "role", role)
        host = service.name.rpartition(":")[0].strip("[]")
        addresses = [host] if host else self._interfaces()
        self.made.set(
            section, "listen", [f"[{each}]:{port}" if ":" in each else f"{each}:{port}" for each in addresses]
        )
        if role == "mx":
            self.made.set(section, "domains", domains)
            if tables:
                self.made.set(section, "domain_tables", tables)
        if role in ("mx", "relay") and networks is not None:
            self.made.set(section, "relay_networks", networks)
        self.made.note(service, TranslationFate.TRANSLATED, f"a listener with the role {role}")
        for override in service.overrides:
            self._override(override)
        if role in ("submission", "submissions"):
            self._accounts()

    def _accounts(self) -> None:
        """Where users log in: at Dovecot, as in Postfix, or in a file of our own."""
        path = self.value("smtpd_sasl_path") or "smtpd"
        if self.value("smtpd_sasl_type") == "dovecot":
            address = address_of(path if path.startswith("inet:") else f"unix:{path}")
            if address is not None:
                self.made.set("accounts", "dovecot", address)
                self.done("smtpd_sasl_type", "accounts.dovecot")
                self.done("smtpd_sasl_path", "accounts.dovecot: its socket must be open to the user letterlock")
        if "dovecot" not in self.made.sections.get("accounts", {}):
            self.made.set("accounts", "file", "/etc/letterlock/users")
        if senders := self._domains.tables("smtpd_sender_login_maps", "senders"):
            self.made.set("accounts", "sender_tables", senders)

    def _override(self, override: PostfixParameter) -> None:
        if override.name in HARMLESS or override.name in (
            "smtpd_tls_security_level",
            "smtpd_reject_unlisted_recipient",
        ):
            self.made.note(override, TranslationFate.NEEDLESS, "the listener's role has it")
        elif override.name.endswith("_restrictions"):
            self._restrictions(override, expanded(override.value, self._known))
        else:
            self.made.note(override, TranslationFate.LOST, "there is no such key for a listener")

    def _interfaces(self) -> list[str]:
        wanted = words(self.value("inet_interfaces") or "all")
        self.done("inet_interfaces", "listen")
        found: list[str] = []
        for each in wanted:
            found += {"all": ["0.0.0.0", "::"], "loopback-only": ["127.0.0.1", "::1"], "localhost": ["127.0.0.1"]}.get(  # noqa: S104  # as Postfix
                each, [each.strip("[]")]
            )
        protocols = words(self.value("inet_protocols") or "all")
        return [each for each in found if "all" in protocols or ("ipv6" if ":" in each else "ipv4") in protocols]

    def _networks(self) -> list[str] | None:
        if "mynetworks" not in self._main:
            return None
        found = []
        for each in words(self.value("mynetworks")):
            try:
                found.append(str(ipaddress.ip_network(each.replace("[", "").replace("]", ""), strict=False)))
            except ValueError:
                self.lost("mynetworks", f"{each}: list the networks themselves in relay_networks")
        self.done("mynetworks", "relay_networks")
        return found

    # --- where mail goes, and how ------------------------------------------------------------------------------------

    def _rules(self) -> None:
        level = self.value("smtp_tls_security_level")
        if level in _LEVELS:
            self.made.set('domain."*"', "tls", _LEVELS[level])
            self.done("smtp_tls_security_level", f'domain."*".tls = "{_LEVELS[level]}"')
        elif level in _DEFAULT_LEVELS or not level:
            self.done(
                "smtp_tls_security_level", "the default: DANE and MTA-STS where they apply, otherwise TLS if offered"
            )
        else:
            self.lost("smtp_tls_security_level", f"{level}: write a rule for the domains that you mean")
        for place, domain, value in self._entries("smtp_tls_policy_maps"):
            wanted, *attributes = value.split()
            self._rule(PostfixParameter(domain, value, place), wanted, attributes)

    def _rule(self, entry: PostfixParameter, wanted: str, attributes: list[str]) -> None:
        domain = entry.name.strip("[]").partition("]")[0].lstrip(".")
        section = f"domain.{json_text('*.' + domain if entry.name.startswith('.') else domain)}"
        names = [name for each in attributes if each.startswith("match=") for name in each[6:].split(":")]
        if wanted in _LEVELS:
            self.made.set(section, "tls", _LEVELS[wanted])
            plain = [name for name in names if name not in ("hostname", "nexthop", "dot-nexthop")]
            if plain and _LEVELS[wanted] == "verify":
                self.made.set(section, "names", plain)
            self.made.note(entry, TranslationFate.TRANSLATED, f"{section}.tls")
        elif wanted in _DEFAULT_LEVELS:
            self.made.note(entry, TranslationFate.NEEDLESS, "the default demands as much or more")
        else:
            self.made.note(entry, TranslationFate.LOST, f"{wanted}: see `fingerprints` of a rule")

    def _routes(self) -> None:
        local = self._domains.local()
        for name, domains in (("mailbox_transport", local), ("virtual_transport", local), ("local_transport", local)):
            if self.value(name) and (hop := next_hop_of(self.value(name))):
                for domain in domains:
                    self.made.set(f"route.{json_text(domain)}", "next_hop", hop[0])
                self.done(name, "route.next_hop of your domains")
            elif name in self._main:
                self.lost(name, f"{self.value(name)}: mail ends at LMTP servers and in Maildirs here (final delivery)")
        for name in ("home_mailbox", "mailbox_command", "mail_spool_directory"):
            self.value(name)
            self.lost(name, 'mail ends at LMTP servers and in Maildirs here: route."DOMAIN".next_hop = "maildir:…"')
        for place, domain, value in self._entries("transport_maps"):
            entry, hop = PostfixParameter(domain, value, place), next_hop_of(value)
            if hop is None or "@" in domain:
                self.made.note(entry, TranslationFate.LOST, "there is no route like this")
                continue
            section = f"route.{json_text('*' + domain if domain.startswith('.') else domain)}"
            self._route(section, hop)
            self.made.note(entry, TranslationFate.TRANSLATED, f"{section}.next_hop")
        if relay := self.value("relayhost"):
            self._route('route."*"', next_hop_of(f"smtp:{relay}") or (relay, None))
            self.done("relayhost", 'route."*".next_hop')
            self._login(relay)

    def _route(self, section: str, hop: tuple[str, int | None]) -> None:
        self.made.set(section, "next_hop", hop[0])
        if hop[1] is not None:
            self.made.set(section, "port", hop[1])

    def _login(self, relay: str) -> None:
        """The password itself is never printed: it would stay in terminals and files."""
        if self.value("smtp_sasl_auth_enable") != "yes":
            self.value("smtp_sasl_password_maps")
            return
        for _, key, value in self._entries("smtp_sasl_password_maps"):
            if key == relay:
                user = value.partition(":")[0]
                self.made.set('route."*"', "tls", "verify")
                self.made.set('route."*"', "login", {"user": user, "password_file": PASSWORD_FILE})
                self.done(
                    "smtp_sasl_password_maps", f"the route's login: write the password into {PASSWORD_FILE}, mode 600"
                )
                return
        self.lost("smtp_sasl_password_maps", f"no entry for {relay} was found: see `login` of a route")

    def _entries(self, name: str) -> list[tuple[str, str, str]]:
        """The entries of a parameter's tables, with their places."""
        found = []
        for each in words(self.value(name)):
            kind, _, path = each.removeprefix("proxy:").partition(":")
            text = self.read_table(path) if kind in TEXT_TABLES else None
            if text is None:
                self.lost(name, f"{each}: it cannot be read, or is no table in text form")
                continue
            found += [(f"{path}:{number}", key, value) for number, key, value in table_entries(text)]
            self.done(name, "each entry, below")
        return found

    # --- filters and restrictions ------------------------------------------------------------------------------------

    def _filters(self) -> None:
        self.value("non_smtpd_milters")
        self.done("non_smtpd_milters", "programs on this machine send through a listener, with its milters")
        action = self.value("milter_default_action") or "tempfail"
        self.done("milter_default_action", "milter.when_away")
        names = []
        for number, each in enumerate(words(self.value("smtpd_milters")), 1):
            address = address_of(each)
            if address is None:
                self.lost("smtpd_milters", f"{each}: an address and a port, or a socket, is needed")
                continue
            names.append(f"filter{number}")
            self.made.set(f"milter.{names[-1]}", "address", address)
            self.made.set(f"milter.{names[-1]}", "when_away", action if action in ("accept", "reject") else "tempfail")
        if names:
            self._for_listeners("milters", names)
            self.done("smtpd_milters", "milter, listener.milters")
        for name in [name for name in self._main if name.endswith("_restrictions") and name not in HARMLESS]:
            self._restrictions(self._main[name], self.value(name), in_main=True)

    def _for_listeners(self, key: str, names: list[str]) -> None:
        for section in self.made.sections:
            if section.startswith("[listener]"):
                self.made.set(section, key, names)

    def _restrictions(self, parameter: PostfixParameter, value: str, *, in_main: bool = False) -> None:
        """Restrictions hold here, become a policy service or rules, or are lost one by one.

        Rules hold for all listeners, and so those of a service in master.cf become none.
        """
        left = words(value)
        lost: list[str] = []
        services: list[str] = []
        permitted: list[str] = []
        while left:
            word = left.pop(0)
            if word == "check_policy_service" and left:
                services.append(left.pop(0))
            elif word in CHECKS and left and in_main:
                lost += self._access(parameter, word, left.pop(0), permitted)
            elif word in PERMITS:
                permitted.append(word)
            elif word not in INHERENT:
                takes = word.startswith(("check_", "reject_rbl", "reject_rhsbl", "permit_dnswl"))
                lost.append(f"{word} {left.pop(0)}" if takes and left else word)
        for number, each in enumerate(services, 1):
            if (address := address_of(each)) is not None:
                self.made.set(f"policy_service.service{number}", "address", address)
                self._for_listeners("policy_services", [f"service{number}"])
        if lost:
            self.made.note(parameter, TranslationFate.LOST, f"{', '.join(lost)}; the rest holds here anyway")
        else:
            ruled = f"[rule]#{parameter.name}" in "".join(self.made.sections)
            text = " and ".join(["policy_service"] * bool(services) + ["rules"] * ruled) or "holds here anyway"
            fate = TranslationFate.TRANSLATED if services or ruled else TranslationFate.NEEDLESS
            self.made.note(parameter, fate, text)

    def _access(self, parameter: PostfixParameter, check: str, table: str, permitted: list[str]) -> list[str]:
        """A table of access(5) as rules, after those for whom it does not hold; what is lost of it."""
        kind, _, path = table.removeprefix("proxy:").partition(":")
        text = self.read_table(path) if kind in (*TEXT_TABLES, "cidr") else None
        if text is None:
            return [f"{check} {table}"]
        for each in permitted:
            match = PERMITS[each] or {"client": self._relaying_networks() or ["127.0.0.0/8", "::1/128"]}
            self._recipient_rule(f"{parameter.name} {each}", {"match": match, "action": "relay"})
        permitted.clear()  # they are written once
        lost = []
        for number, (key, rule) in enumerate(access_rules(CHECKS[check], text)):
            if rule is None:
                lost.append(f"{check} {path}: {key}")
            else:
                self._recipient_rule(f"{parameter.name} {check} {path} {number}", rule)
        return lost

    def _recipient_rule(self, name: str, keys: dict[str, object]) -> None:
        for key, value in keys.items():
            self.made.set(f"[rule]#{name}", key, value)

    def _relaying_networks(self) -> list[str]:
        """What mynetworks has of networks, as far as a rule may relay for them."""
        found = []
        for each in words(self.value("mynetworks")):
            try:
                network = ipaddress.ip_network(each.replace("[", "").replace("]", ""), strict=False)
            except ValueError:
                continue  # noted where it is translated
            if network.prefixlen >= WIDEST_PREFIX[network.version]:
                found.append(str(network))
        return found
