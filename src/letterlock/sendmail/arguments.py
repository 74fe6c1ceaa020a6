"""The command line of sendmail, as Postfix and Sendmail take it. Written by hand: `getopt` loads `gettext` and `re`."""

from letterlock.sendmail.exits import USAGE, Failure, printable

MAX_ENVID_CHARACTERS = 100  # RFC 3461 section 4.4
_FLAGS = "Gcimnstvx" + "IU"
_VALUES = "ABCDFLMNORVXbefhopr"
_OPTIONAL = "qdTQ"  # their value, if any, is joined
_NOTIFICATIONS = frozenset({"SUCCESS", "FAILURE", "DELAY"})
_BODY_TYPES = frozenset({"7BIT", "8BITMIME"})
_RETS = frozenset({"FULL", "HDRS"})
_MODES = "mspiv"  # `-bi` and `-I` check the aliases
_NOTHING_TO_DO = "hHP"  # purge the host status, print the queue's length: of a Sendmail that had them
_WITHOUT_EFFECT = "AMXDQs"


class Arguments:
    """The parsed command line. `sender` is None when not given; `ignored` are sentences about what has no effect."""

    __slots__ = (
        "body_type",
        "config",
        "envid",
        "from_headers",
        "full_name",
        "ignore_dots",
        "ignored",
        "mode",
        "notify",
        "recipients",
        "ret",
        "run_queue",
        "sender",
        "verbose",
    )

    def __init__(self) -> None:
        self.mode = "m"
        self.config: str | None = None
        self.sender: str | None = None
        self.full_name: str | None = None
        self.notify = self.ret = self.envid = self.body_type = ""
        self.from_headers = self.ignore_dots = self.verbose = self.run_queue = False
        self.recipients: list[str] = []
        self.ignored: list[str] = []

    def take(self, option: str, value: str) -> None:
        """Apply one option. Raises Failure (USAGE)."""
        match option:
            case "t":
                self.from_headers = True
            case "i":
                self.ignore_dots = True
            case "v":
                self.verbose = True
            case "f" | "r":
                self.sender = value
            case "F":
                self.full_name = value
            case "C":
                self.config = value
            case "q":
                self.run_queue = True
            case _:
                self._take_rare(option, value)

    def _take_rare(self, option: str, value: str) -> None:
        match option:
            case "b":
                self.mode = _mode(value)
            case "I":
                self.mode = "i"
            case "o" | "O":
                self.ignore_dots |= _ignores_dots(option, value)
            case "N":
                self.notify = _notify(value)
            case "R":
                self.ret = _one_of(value, _RETS, "R")
            case "V":
                self.envid = _envid(value)
            case "B":
                self.body_type = _one_of(value, _BODY_TYPES, "B")
            case _ if option in _WITHOUT_EFFECT:
                self.ignored.append(f"-{option} has no effect here")


def parse(words: list[str]) -> Arguments:
    """Read a command line, without the name of the program. Raises Failure (USAGE)."""
    arguments = Arguments()
    words = list(words)
    while words:
        word = words.pop(0)
        if word == "--":
            arguments.recipients += words
            break
        if word.startswith("--"):
            arguments.mode = _long_option(word)
            break
        if word == "-" or not word.startswith("-"):
            arguments.recipients.append(word)
        else:
            _parse_cluster(word[1:], words, arguments)
    return arguments


def _parse_cluster(letters: str, rest: list[str], arguments: Arguments) -> None:
    """One word of options: `-t`, `-ti`, `-fann@example.org`, `-f ann@example.org`."""
    while letters:
        option, letters = letters[0], letters[1:]
        if option in _FLAGS:
            arguments.take(option, "")
        elif option in _OPTIONAL:
            arguments.take(option, letters)
            return
        elif option in _VALUES:
            if not letters and not rest:
                raise Failure(USAGE, f"-{option} needs a value")
            arguments.take(option, letters or rest.pop(0))
            return
        else:
            raise Failure(USAGE, f"unknown option -{printable(option)}; --help shows them")


def _long_option(word: str) -> str:
    if word in ("--version", "--help"):
        return word
    raise Failure(USAGE, f"unknown option {printable(word)}; --help shows them")


def _mode(value: str) -> str:
    if len(value) == 1 and value in _MODES:
        return value
    if len(value) == 1 and value in _NOTHING_TO_DO:
        return "n"
    if value in ("d", "D", "l"):
        raise Failure(USAGE, f"-b{value}: start the server with `letterlock serve`")
    raise Failure(USAGE, f"-b{printable(value)} is not supported: only -bm, -bs, -bp, -bv and -bi")


def _ignores_dots(option: str, value: str) -> bool:
    """`-oi`, `-oitrue`, `-O IgnoreDots`, `-O IgnoreDots=True`; other options of sendmail.cf have no meaning here."""
    if option == "o":
        name, truth = value[:1], value[1:]
        return name == "i" and truth.lower() in ("", "t", "true", "y", "yes", "1")
    name, _, truth = value.partition("=")
    return name.strip().lower() == "ignoredots" and truth.strip().lower() in ("", "t", "true", "y", "yes", "1")


def _notify(value: str) -> str:
    words = [word.strip().upper() for word in value.split(",")]
    if words == ["NEVER"] or (words and len(set(words)) == len(words) and _NOTIFICATIONS.issuperset(words)):
        return ",".join(words)
    raise Failure(USAGE, "-N is `never`, or of `success`, `failure`, `delay` some with commas between")


def _one_of(value: str, known: frozenset[str], option: str) -> str:
    if value.upper() in known:
        return value.upper()
    raise Failure(USAGE, f"-{option} is one of {', '.join(sorted(known))}")


def _envid(value: str) -> str:
    """The envelope id as xtext (RFC 3461 section 4)."""
    text = "".join(letter if "!" <= letter <= "~" and letter not in "+=" else f"+{ord(letter):02X}" for letter in value)
    if not (value.isascii() and value.isprintable()) or not 1 <= len(text) <= MAX_ENVID_CHARACTERS:
        raise Failure(USAGE, f"-V takes 1 to {MAX_ENVID_CHARACTERS} printable ASCII characters")
    return text
