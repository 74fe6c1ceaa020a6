"""What each statement of smtpd.conf is here. Pure.

OpenSMTPD's rules are read from top to bottom. Where all of them only name domains and who may relay, listeners say the
same; where one rejects, or asks for a sender or a recipient, all become `[[rule]]`s, in their order.
Every statement gets at least one note, so that nothing is lost without a word.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from letterlock.app.output import json_text
from letterlock.cli.importing.postfix_files import seconds
from letterlock.cli.importing.translation import Translation, TranslationFate

TRANSLATED, NEEDLESS, LOST = TranslationFate.TRANSLATED, TranslationFate.NEEDLESS, TranslationFate.LOST
MAX_QUOTED = 60  # characters of a line that cannot be read
MAX_INCLUDES = 10  # chosen: nobody nests more, and a file that includes itself ends
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|\{[^}]*\}|<[^>]+>|[^\s{}"]+')
_MACRO = re.compile(r'^(\w+)\s*=\s*(".*"|\S+)$')
_RELAY = re.compile(
    r"(?:(?P<scheme>[a-z+-]+)://)?(?:(?P<label>[^@/]+)@)?(?P<host>\[[^\]]+\]|[^:/]+)(?::(?P<port>\d+))?"
)
_PORTS = {"smtp": 25, "submission": 587, "smtps": 465, "submissions": 465}
_ADDRESSES = {"localhost": ["127.0.0.1", "::1"], "lo": ["127.0.0.1", "::1"], "lo0": ["127.0.0.1", "::1"],
              "all": ["0.0.0.0", "::"], "any": ["0.0.0.0", "::"], "egress": ["0.0.0.0", "::"]}  # fmt: skip  # noqa: S104
_IS_ADDRESS = re.compile(r"[0-9.]+|[0-9a-fA-F:]*:[0-9a-fA-F:.]*")
_PATHS = {"mail-from": "from", "rcpt-to": "to"}  # what a rule asks of the envelope
_STRANGE = {"tag", "helo"}
_LEAST_WORDS = {"action": 3, "table": 3}  # its name, and what it is
_LEADING = {"on", "for", "from", "src", "domain", "host", "action", "alias", "virtual", *_PATHS}  # another word follows
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_SIZE = re.compile(r"(\d+)([kmg]?)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SmtpdStatement:
    """One statement: its words, and where it begins."""

    words: tuple[str, ...]
    place: str

    @property
    def name(self) -> str:
        """Its beginning, for people."""
        return " ".join(self.words[:3])

    @property
    def is_whole(self) -> bool:
        """Whether it has the words that its beginning asks for; OpenSMTPD refuses a file with one that has not."""
        return len(self.words) >= _LEAST_WORDS.get("".join(self.words[:1]), 1) and self.words[-1] not in _LEADING

    def after(self, word: str) -> str | None:
        """The word behind another one, without quotes."""
        found = self.behind(word)
        return None if found is None else bare(found)

    def behind(self, word: str) -> str | None:
        """The word behind another one, as it is written."""
        found = [bare(each) for each in self.words]
        return self.words[found.index(word) + 1] if word in found[:-1] else None


def bare(word: str) -> str:
    """A word without its quotes or angle brackets."""
    return word[1:-1] if word[:1] + word[-1:] in ('""', "<>") and len(word) > 1 else word


def read_smtpd(text: str, name: str, include: Callable[[str], str | None], depth: int = 0) -> Iterator[SmtpdStatement]:
    """The statements, macros replaced, with those of included files; `depth` counts the files that include this one."""
    macros: dict[str, str] = {}
    for number, line in _logical(text):
        if found := _MACRO.match(line):
            macros[found[1]] = bare(found[2])
            continue
        line = re.sub(r"\$(\w+)", lambda found: macros.get(found[1], found[0]), line)  # its macros
        words = tuple(_WORD.findall(line))
        if line.count("{") > line.count("}"):  # it took in everything up to the end of the file
            words = (f"{line[:MAX_QUOTED]}: its brace is not closed",)
        if words[:1] == ("include",) and len(words) > 1 and depth < MAX_INCLUDES:
            included = include(bare(words[1]))
            if included is not None:
                yield from read_smtpd(included, bare(words[1]), include, depth + 1)
                continue
        yield SmtpdStatement(words, f"{name}:{number}")


def _logical(text: str) -> Iterator[tuple[int, str]]:
    """Lines without comments, continued by a backslash or an open brace."""
    number, gathered = 0, ""
    for here, line in enumerate(text.splitlines(), 1):
        without = re.sub(r'^((?:[^"#]|"[^"]*")*)#.*', r"\1", line).rstrip()
        if not gathered:
            number = here
        gathered += without.removesuffix("\\") + " "
        if without.endswith("\\") or gathered.count("{") > gathered.count("}"):
            continue
        if gathered.strip():
            yield number, gathered.strip()
        gathered = ""
    if gathered.strip():
        yield number, gathered.strip()


@dataclass(slots=True)
class SmtpdTranslator:
    """Translates one configuration. `read_table` reads a file in text form; None: it cannot be read."""

    statements: list[SmtpdStatement]
    read_table: Callable[[str], str | None]
    hostname: str
    made: Translation = field(default_factory=Translation)
    actions: dict[str, SmtpdStatement] = field(default_factory=dict)
    tables: dict[str, SmtpdStatement] = field(default_factory=dict)
    pki: dict[str, dict[str, str]] = field(default_factory=dict)
    domains: dict[str, str] = field(default_factory=dict)  # with the action of their mail
    public: set[str] = field(default_factory=set)  # those of them whose mail is accepted from anybody
    networks: list[str] = field(default_factory=list)

    def translate(self) -> Translation:
        """All of it."""
        self.made.set("", "hostname", self.hostname)
        self.made.set("queue", "directory", "/var/lib/letterlock")
        for each in self.statements:
            if not each.is_whole:
                self.made.note(each, LOST, "words are missing in it")
        self.statements = [each for each in self.statements if each.is_whole]
        for each in self.statements:
            self._declared(each)
        matches = [each for each in self.statements if each.words[0] == "match"]
        in_order = any({"reject", *_PATHS} & set(each.words) for each in matches)
        for each in matches:
            self._match(each)
            if in_order:
                self._rule(each)
        if in_order:
            self.made.set("[rule]#end", "action", "reject")
        for each in self.statements:
            if each.words[:2] == ("listen", "on"):
                self._listen(each)
        for domain, action in self.domains.items():
            self._deliver(domain, self.actions[action])
        return self.made

    def _declared(self, statement: SmtpdStatement) -> None:
        match statement.words:
            case ("action", name, *_):
                self.actions[bare(name)] = statement
            case ("table", name, *_):
                self.tables[bare(name)] = statement
                self.made.note(statement, TRANSLATED, "used where it is named")
            case ("pki", name, ("cert" | "key") as kind, path):
                self.pki.setdefault(bare(name), {})[kind] = bare(path)
                self.made.note(statement, TRANSLATED, "certificate or key of a listener")
            case ("match", *_) | ("listen", "on", *_):
                return
            case _:
                self._option(statement)

    def _option(self, statement: SmtpdStatement) -> None:
        match statement.words:
            case ("smtp", "max-message-size", size) if found := _SIZE.fullmatch(bare(size)):
                self._set(statement, "smtp", "max_message_octets", int(found[1]) * _UNITS[found[2].lower()])
            case ("smtp", "limit", "max-rcpt", count) if count.isdecimal():
                self._set(statement, "smtp", "max_recipients", max(100, int(count)))  # RFC 5321 section 4.5.3.1.8
            case ("queue", "ttl", delay) if (time := seconds(bare(delay))) is not None:
                self._set(statement, "queue", "lifetime_seconds", int(time))
            case ("bounce", "warn-interval", delay, *_) if (time := seconds(bare(delay).rstrip(","))) is not None:
                self._set(statement, "queue", "delay_notice_seconds", int(time))
            case ("queue", "compression"):
                self.made.note(statement, NEEDLESS, "messages are small, or do not compress")
            case ("queue", "encryption", *_):
                self.made.note(statement, LOST, "see [queue] key_file, with a key of its own")
            case ("filter" | "proc", *_):
                self.made.note(statement, LOST, "filters of OpenSMTPD do not run here: see [milter], [dkim]")
            case ("srs", *_):
                self.made.note(statement, LOST, "see [forwarding] srs_domain and srs_secret_file")
            case _:
                self.made.note(statement, LOST, "there is no such key here")

    def _set(self, statement: SmtpdStatement, section: str, key: str, value: object) -> None:
        self.made.set(section, key, value)
        self.made.note(statement, TRANSLATED, f"{section}.{key}")

    # --- rules -------------------------------------------------------------------------------------------------------

    def _match(self, statement: SmtpdStatement) -> None:
        """Mail for named domains is a domain of the mx listener; everything else that we can do is the default."""
        if "!" in " ".join(statement.words):
            self.made.note(statement, LOST, "no rule here negates: put a rule for the others before it")
            return
        if "reject" in statement.words:
            return
        action = statement.after("action")
        if action not in self.actions:
            self.made.note(statement, LOST, "its action is missing")
            return
        names = self._for(statement)
        strange = _STRANGE & set(statement.words)
        if names is None or strange:
            self.made.note(statement, LOST, f"no rule here asks for {', '.join(sorted(strange)) or 'this'}")
            return
        anybody = statement.after("from") == "any" and "auth" not in statement.words
        if names == ["*"] and anybody:
            self.made.note(statement, LOST, "an open relay: nobody may send everywhere without a login")
            return
        if statement.after("from") == "src":
            networks = self._values(statement.behind("src") or "")
            if networks is None:
                self.made.note(statement, LOST, "its networks cannot be read: add them to relay_networks")
                return
            self.networks += networks
        for each in names:
            if each == "*" and self.actions[action].words[2] == "relay":
                self._deliver("*", self.actions[action])
            elif each != "*":
                self.domains.setdefault(each, action)  # the first rule counts
                self.public |= {each} if anybody else set()
        self.made.note(statement, TRANSLATED, "listener.domains and route" if names != ["*"] else "who may relay")

    def _rule(self, statement: SmtpdStatement) -> None:
        """The same as a rule of a list, which has what no listener can say."""
        words, names = statement.words, self._for(statement)
        rejects = "reject" in words
        if names is None or _STRANGE & set(words) or "!" in " ".join(words) or not self._is_understood(statement):
            if rejects or self.made.notes[-1].fate is not LOST:
                self.made.note(statement, LOST, "no rule here asks for this, so that this mail is refused")
            return
        match: dict[str, object] = {} if names == ["*"] else {"to": names}
        for word, key in _PATHS.items():
            if (value := statement.behind(word)) is not None:
                match[key] = self._values(value) or []
        if "auth" in words:
            match["user"] = "*"
        elif (source := statement.after("from") or "local") != "any":
            clients = self._values(statement.behind("src") or "") if source == "src" else []
            match["client"] = clients or ["127.0.0.0/8", "::1/128"]
        delivers = "to" in match and "*" not in names
        if not rejects and not delivers and not {"user", "client"} & match.keys():
            return  # an open relay: it was noted
        section = f"[rule]#{statement.place}"
        if match:
            self.made.set(section, "match", match)
        self.made.set(section, "action", "reject" if rejects else "deliver" if delivers else "relay")
        if rejects:
            self.made.note(statement, TRANSLATED, "a [[rule]]")

    def _is_understood(self, statement: SmtpdStatement) -> bool:
        """Whether its lists can be read, and its action exists."""
        acts = "reject" in statement.words or statement.after("action") in self.actions
        lists = [value for each in (*_PATHS, "src") if (value := statement.behind(each)) is not None]
        return acts and all(map(self._values, lists))

    def _for(self, statement: SmtpdStatement) -> list[str] | None:
        """The domains that a rule is for; `*`: any."""
        words = [*statement.words]
        if "for" not in words:
            return [self.hostname]
        what = words[words.index("for") + 1 :]
        match what:
            case ["any", *_]:
                return ["*"]
            case ["local", *_]:
                return [self.hostname]
            case ["domain", name, *_]:
                return self._values(name)
        return None

    def _values(self, word: str) -> list[str] | None:
        """A list, the values of a table, or one word."""
        if word.startswith("{"):
            return [bare(each) for each in re.split(r"[,\s]+", word[1:-1].strip()) if each]
        if not word.startswith("<"):
            return [bare(word)]
        table = self.tables.get(bare(word))
        if table is None:
            return None
        what = table.words[2] if len(table.words) > 2 else ""  # table NAME WHAT
        if what.startswith("{"):
            return self._values(what)
        text = self.read_table(bare(what).removeprefix("file:"))
        lines = (text or "").splitlines()
        return None if text is None else [line.split()[0] for line in lines if line.strip()[:1] not in ("", "#")]

    # --- actions -----------------------------------------------------------------------------------------------------

    def _deliver(self, domain: str, action: SmtpdStatement) -> None:
        section, kind = f"route.{json_text(domain)}", action.words[2]
        told = {(note.place, note.name) for note in self.made.notes}
        if kind == "relay":
            host = action.after("host")
            if host is not None:
                self._relay(section, action, host)
            elif (action.place, action.name) not in told:
                self.made.note(action, NEEDLESS, "mail goes to the MX hosts of its domain")
            return
        next_hop = _local(kind, action)
        if next_hop is None:
            self.made.note(action, LOST, f"{kind}: mail ends at LMTP servers and in Maildirs here (final delivery)")
            next_hop = "maildir:/var/mail/letterlock/{domain}/{local}"
        elif (action.place, action.name) not in told:
            self.made.note(action, TRANSLATED, "route.next_hop; a Maildir is not in a home directory")
        self.made.set(section, "next_hop", next_hop)
        self._recipients(domain, action)

    def _recipients(self, domain: str, action: SmtpdStatement) -> None:
        section = f"local.{json_text(domain)}"
        for word in ("alias", "virtual"):
            name = action.after(word)
            table = self.tables.get(name or "")
            if table is not None and table.words[2].removeprefix('"').startswith("file:"):
                self.made.set(f"table.{name}", "file", bare(table.words[2]).removeprefix("file:"))
                self.made.set(section, "aliases", [name])
            elif name is not None:
                self.made.note(action, LOST, f"{word} <{name}>: only tables in files are read here, and SQLite")
        if "virtual" not in action.words:
            self.made.set("table.system", "system_users", True)
            self.made.set(section, "mailboxes", ["system"])

    def _relay(self, section: str, action: SmtpdStatement, host: str) -> None:
        found = _RELAY.fullmatch(host)
        scheme = (found and found["scheme"]) or "smtp"
        if found is None or scheme in ("smtps", "lmtp"):
            self.made.note(action, LOST, f"{host}: next hops are spoken to with STARTTLS; see port 587")
            return
        name = found["host"].strip("[]")
        self.made.set(section, "next_hop", f"[{'IPv6:' if ':' in name else ''}{name}]")
        if found["port"]:
            self.made.set(section, "port", int(found["port"]))
        if scheme in ("smtp+tls", "smtp+notls"):
            self.made.set(section, "tls", "verify" if scheme == "smtp+tls" else "may")
        if found["label"] and action.after("auth") and (user := self._user(action, found["label"])):
            self.made.set(section, "tls", "verify")
            password = "/etc/letterlock/smarthost.password"  # noqa: S105  # a place, not a password
            self.made.set(section, "login", {"user": user, "password_file": password})
            self.made.note(action, TRANSLATED, f"{section}: write the password into {password}, mode 600")
            return
        self.made.note(action, TRANSLATED, f"{section}.next_hop")

    def _user(self, action: SmtpdStatement, label: str) -> str | None:
        """The user of a label; the password stays where it is."""
        table = self.tables.get(action.after("auth") or "")
        text = None if table is None else self.read_table(bare(table.words[2]).removeprefix("file:"))
        for line in (text or "").splitlines():
            key, _, value = line.strip().partition(" ")
            if key == label:
                return value.strip().partition(":")[0]
        self.made.note(action, LOST, f"the user of {label} was not found: see `login` of a route")
        return None

    # --- listeners ---------------------------------------------------------------------------------------------------

    def _listen(self, statement: SmtpdStatement) -> None:
        where = bare(statement.words[2])
        if where == "socket":
            self.made.note(statement, NEEDLESS, "letterlock-sendmail needs no listener of its own")
            return
        known = _ADDRESSES.get(where) or ([where] if _IS_ADDRESS.fullmatch(where) else None)
        if known is None:
            self.made.note(statement, LOST, f"{where}: name the addresses of this interface in listen")
            return
        words = {bare(each) for each in statement.words}
        users = bool(words & {"auth", "auth-optional"})
        given = statement.after("port") or ("smtps" if "smtps" in words else "25")
        port = int(given) if given.isdecimal() else _PORTS.get(given, 25)
        loopback = all(each in ("127.0.0.1", "::1") for each in known)
        # the ports of RFC 8314 section 7.3 and RFC 6409 section 3.1
        role = "submissions" if users and port == 465 else "submission" if users and port == 587 else None
        role = role or ("mx" if self.public and not loopback else "relay")
        section = f"[listener]#{statement.place}"
        self.made.set(section, "role", role)
        self.made.set(section, "listen", [f"[{each}]:{port}" if ":" in each else f"{each}:{port}" for each in known])
        if role == "mx":
            self.made.set(section, "domains", [each for each in self.domains if each in self.public])
        if role in ("mx", "relay") and self.networks:
            self.made.set(section, "relay_networks", ["127.0.0.0/8", "::1/128", *self.networks])
        if role in ("submission", "submissions"):
            self.made.set("accounts", "file", "/etc/letterlock/users")
        self._pki(statement, section)
        lost = sorted(words & {"filter", "tag", "senders", "proxy-v2", "ca", "verify", "auth-optional"})
        if users and role in ("mx", "relay"):
            lost.append("auth on port 25 (users log in on ports 465 and 587)")
        if lost:
            self.made.note(statement, LOST, f"{', '.join(lost)}; the rest is a listener with the role {role}")
        else:
            self.made.note(statement, TRANSLATED, f"a listener with the role {role}")

    def _pki(self, statement: SmtpdStatement, section: str) -> None:
        files = self.pki.get(statement.after("pki") or "", {})
        if files.keys() == {"cert", "key"}:
            self.made.set(section, "certificate", files["cert"])
            self.made.set(section, "key", files["key"])


def _local(kind: str, action: SmtpdStatement) -> str | None:
    """Where mail of an action ends; None: nowhere that we can deliver to."""
    target = bare(action.words[3]) if len(action.words) > 3 else ""  # action NAME METHOD TARGET
    if kind == "lmtp" and target:
        if target.startswith("/"):
            return f"lmtp:{target}"
        host, _, port = target.rpartition(":")
        address = "127.0.0.1" if (host or target) == "localhost" else host or target
        return f"lmtp:[{address}]" + (f":{port}" if host else "")
    if kind == "maildir":
        if target.startswith("/") and re.search(r"%\{[^}]*user[^}]*\}", target):
            named = re.sub(r"%\{[^}]*user[^}]*\}", "{local}", target)
            return "maildir:" + re.sub(r"%\{[^}]*domain[^}]*\}", "{domain}", named)
        return "maildir:/var/mail/letterlock/{domain}/{local}"
    return None
