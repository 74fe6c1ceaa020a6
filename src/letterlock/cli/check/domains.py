"""Lists of domains, from the command line and from files."""

from collections.abc import Iterable

from letterlock.mail.names import InvalidName, canonical

MAX_DOMAINS = 100_000  # chosen: at ten a second they take three hours
MAX_LINE_OCTETS = 1_000  # a domain has 253 at most; the rest is room for a comment
MAX_MISTAKES_TOLD = 10  # chosen: what fits on a screen


class BadDomains(ValueError):
    """A file has lines that are not domains. `str()` lists every mistake with its line."""


def parse_domain(text: str) -> str:
    """A domain in A-labels, or an address literal; the part before an `@` is left out. Raises InvalidName."""
    return canonical(text.rpartition("@")[2])


def read_domains(lines: Iterable[bytes], name: str) -> tuple[str, ...]:
    """The domains in a file, one a line; `#` begins a comment. At most MAX_DOMAINS. Raises BadDomains."""
    found: list[str] = []
    mistakes: list[str] = []
    for number, line in enumerate(lines, 1):
        text = line[:MAX_LINE_OCTETS].decode("utf-8", "replace").partition("#")[0].strip()
        if not text:
            continue
        try:
            found.append(parse_domain(text))
        except InvalidName as error:
            mistakes.append(f"{name}:{number}: {error}")
        if len(found) > MAX_DOMAINS:
            raise BadDomains(f"{name}:{number}: more than {MAX_DOMAINS} domains")
    if mistakes:
        more = len(mistakes) - MAX_MISTAKES_TOLD
        told = mistakes[:MAX_MISTAKES_TOLD] + ([f"and {more} more"] if more > 0 else [])
        raise BadDomains("\n".join(told) + "\n  hint: one domain per line, such as example.org; nothing was checked")
    return tuple(found)
