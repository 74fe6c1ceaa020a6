"""Address lists of RFC 5322 section 3.4, from headers and command lines, parsed into bare addresses."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_ADDRESS_CHARACTERS = 320  # RFC 5321 section 4.5.3.1: 64 of local part, `@`, 255 of domain
MAX_ADDRESSES = 50_000  # chosen: far more than one message is sent to; bounds time and memory
MAX_PHRASE_CHARACTERS = 1000  # chosen: far longer than a name; a quote without its end is found early
_SHOWN_CHARACTERS = 80  # chosen: one line of a terminal
_SPACES = " \t\r\n"


class BadAddress(Exception):
    """This is no address, or no list of them."""


class _Endless(Exception):
    """A quote, comment or bracket has no end, so the start of the next entry is unknown."""


def addresses(text: str) -> list[str]:
    """The addresses of a list, without names, comments and groups. `<>` is an empty one. Raises BadAddress."""
    found, unreadable = readable_addresses(text)
    if unreadable:
        raise BadAddress(unreadable[0])
    return found


def readable_addresses(text: str) -> tuple[list[str], list[str]]:
    """The addresses of a list that can be read, and what is wrong with the rest.

    An entry that is no address is passed over: where the next one begins is certain. Behind a quote, a comment or a
    bracket without its end it is not, and nothing more is read. Raises BadAddress for more than MAX_ADDRESSES.
    """
    return _Scanner(text).scan()


def qualified(address: str, domain: str) -> str:
    """A local name with the domain behind it; an address as it is."""
    return address if not address or _at(address) >= 0 else f"{address}@{domain}"


def distinct(addresses: "Iterable[str]") -> list[str]:
    """Each address once, as it was first written: domains are compared without case (RFC 5321 section 2.4)."""
    found: dict[str, str] = {}
    for address in addresses:
        at = _at(address)
        found.setdefault(address[:at] + address[at:].lower() if at >= 0 else address, address)
    return list(found.values())


def _at(address: str) -> int:
    """Where the domain begins, or -1: an `@` inside quotes does not count."""
    return address.find("@", address.rfind('"') + 1)


class _Scanner:
    """Reads a list once, from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._words = ""
        self._route: str | None = None
        self._begin = 0  # of the entry
        self._trouble = ""
        self._found: list[str] = []
        self._unreadable: list[str] = []

    def scan(self) -> tuple[list[str], list[str]]:
        try:
            while self._at < len(self._text):
                self._step(self._text[self._at])
        except _Endless as endless:
            self._trouble = str(endless)
        self._finish()
        return self._found, self._unreadable

    def _shown(self) -> str:
        return f'"{self._text[self._begin : self._begin + _SHOWN_CHARACTERS].strip(_SPACES)}"'

    def _step(self, letter: str) -> None:
        if len(self._words) > MAX_PHRASE_CHARACTERS:
            self._trouble = f"a name or address of more than {MAX_PHRASE_CHARACTERS} characters"
            self._words = ""
        match letter:
            case '"':
                self._words += self._quoted()
            case "(":
                self._skip_comment()
            case "<":
                self._take_route()
            case "[":
                self._words += self._up_to("]")
            case "," | ";":
                self._at += 1
                self._finish()
            case ":":  # what stood before it was the name of a group
                self._at += 1
                self._words = ""
            case _:
                self._at += 1
                self._words += letter

    def _quoted(self) -> str:
        start = self._at
        self._at += 1
        while self._at < len(self._text):
            letter = self._text[self._at]
            self._at += 2 if letter == "\\" else 1
            if letter == '"':
                return self._text[start : self._at]
        raise _Endless(f"a quote without its end in {self._shown()}")

    def _skip_comment(self) -> None:
        depth = 0
        while self._at < len(self._text):
            letter = self._text[self._at]
            self._at += 2 if letter == "\\" else 1
            depth += (letter == "(") - (letter == ")")
            if not depth:
                self._words += " "
                return
        raise _Endless(f"a comment without its end in {self._shown()}")

    def _up_to(self, end: str) -> str:
        start = self._at
        found = self._text.find(end, start)
        if found < 0:
            raise _Endless(f'"{self._text[start]}" without "{end}" in {self._shown()}')
        self._at = found + 1
        return self._text[start : self._at]

    def _take_route(self) -> None:
        if self._route is not None:
            self._trouble = f"two addresses without a comma in {self._shown()}"
        self._at += 1
        inside = ""
        while self._at < len(self._text) and (letter := self._text[self._at]) != ">":
            if len(inside) > MAX_PHRASE_CHARACTERS:
                raise _Endless(f"an address of more than {MAX_PHRASE_CHARACTERS} characters")
            if letter == '"':
                inside += self._quoted()
            elif letter == "[":
                inside += self._up_to("]")
            else:
                inside += letter
                self._at += 1
        if self._at >= len(self._text):
            raise _Endless(f'"<" without ">" in {self._shown()}')
        self._at += 1
        self._route, self._words = inside.strip(_SPACES), ""

    def _finish(self) -> None:
        """The end of an entry: an address, or what is wrong with it."""
        words, route, trouble = self._words.strip(_SPACES), self._route, self._trouble
        if route is not None and words:
            trouble = trouble or f'"{words[:_SHOWN_CHARACTERS]}" behind an address in {self._shown()}'
        self._words, self._route, self._trouble, self._begin = "", None, "", self._at
        if trouble:
            self._unreadable.append(trouble)
        elif route is not None or words:
            self._take(words if route is None else _without_source_route(route))
        if len(self._found) + len(self._unreadable) > MAX_ADDRESSES:
            raise BadAddress(f"more than {MAX_ADDRESSES} addresses")

    def _take(self, address: str) -> None:
        try:
            self._found.append(_checked(address))
        except BadAddress as bad:
            self._unreadable.append(str(bad))


def _without_source_route(route: str) -> str:
    """`@a,@b:user@host` means `user@host` (RFC 5322 section 4.4)."""
    return route.partition(":")[2] if route.startswith("@") else route


def _checked(address: str) -> str:
    if len(address) > MAX_ADDRESS_CHARACTERS:
        raise BadAddress(f"an address of more than {MAX_ADDRESS_CHARACTERS} characters")
    at = _at(address)
    local, domain = (address, "localhost") if at < 0 else (address[:at], address[at + 1 :])
    if address and not (_is_local(local) and _is_domain(domain)):
        raise BadAddress(f'"{address}" is not an address')
    return address


def _is_local(local: str) -> bool:
    if local.startswith('"') and local.endswith('"') and len(local) > 1:
        return _is_clean(local)
    return bool(local) and _is_clean(local) and not set(local) & set(' ()<>@,;:\\"[]')


def _is_domain(domain: str) -> bool:
    if domain.startswith("[") and domain.endswith("]"):
        return _is_clean(domain) and not set(domain[1:-1]) & set(' []<>\\"')
    return bool(domain) and _is_clean(domain) and not set(domain) & set(' ()<>@,;:\\"[]')


def _is_clean(text: str) -> bool:
    """No control characters, nor octets that are not UTF-8 (they come as lone surrogates)."""
    return text.isprintable()
