"""SPF macros: their grammar and their expansion (RFC 7208 section 7)."""

import re
from collections.abc import Mapping
from urllib.parse import quote

MAX_NAME_CHARACTERS = 253  # section 7.3: longer names lose labels on the left
_MAX_DIGITS = 3  # a name has at most 127 labels, so every longer number means "all parts"

_EXPAND = r"%(?:\{[slodiphcrtv][0-9]*+r?[-.+,/_=]*+\}|[%_-])"
_STRING = re.compile(rf"(?:[!-$&-~]|{_EXPAND})*+", re.IGNORECASE)
_EXPLANATION = re.compile(rf"(?:[ !-$&-~]|{_EXPAND})*+", re.IGNORECASE)
_TOP_LABEL = re.compile(r"\.(?:[0-9]*+[a-z][a-z0-9]*+|[a-z0-9]++-[a-z0-9-]*[a-z0-9])\.?", re.IGNORECASE)
_TOKEN = re.compile(r"%\{([a-z])([0-9]*)(r?)([-.+,/_=]*)\}|%([%_-])|([^%]+)", re.IGNORECASE)
_ESCAPES = {"%": "%", "_": " ", "-": "%20"}
_ONLY_IN_EXPLANATIONS = frozenset("crt")


class InvalidMacro(ValueError):
    """A text that is not written by the grammar. `str()` says what is wrong."""


def check_string(text: str) -> None:
    """Check a macro-string, the value of an unknown modifier. Raises InvalidMacro."""
    _check(text, _STRING)


def check_explanation(text: str) -> None:
    """Check the text of an explanation, which may hold blanks. Raises InvalidMacro."""
    _check(text, _EXPLANATION)


def check_domain_spec(text: str) -> None:
    """Check a domain-spec: a macro-string that ends in a top-level label or in a macro. Raises InvalidMacro."""
    _check(text, _STRING)
    tokens = list(_TOKEN.finditer(text))
    if not tokens:
        raise InvalidMacro("a domain name is missing")
    for token in tokens:
        if token[1] and token[1].lower() in _ONLY_IN_EXPLANATIONS:
            raise InvalidMacro(f"the macro letter {token[1]} is only allowed in explanations")
    literal = tokens[-1][6]
    if literal is None:
        return
    dot = literal.removesuffix(".").rfind(".")
    if dot < 0 or not _TOP_LABEL.fullmatch(literal, dot):
        raise InvalidMacro(f"{text!r} does not end like a domain name")


def _check(text: str, grammar: re.Pattern[str]) -> None:
    if not grammar.fullmatch(text):
        raise InvalidMacro(f"{text!r} is not a valid macro string")
    if any(each[2] and not each[2].strip("0") for each in _TOKEN.finditer(text)):
        raise InvalidMacro("a macro keeps zero parts")


def letters(text: str) -> frozenset[str]:
    """The macro letters that a checked text uses, in lower case."""
    return frozenset(each[1].lower() for each in _TOKEN.finditer(text) if each[1])


def expand(text: str, values: Mapping[str, str]) -> str:
    """A checked text with its macros expanded; `values` has each letter that it uses."""
    return "".join(_expanded(each, values) for each in _TOKEN.finditer(text))


def _expanded(token: re.Match[str], values: Mapping[str, str]) -> str:
    letter, digits, backwards, delimiters, escape, literal = token.groups()
    if literal is not None:
        return str(literal)
    if escape is not None:
        return _ESCAPES[escape]
    value = _transformed(values[letter.lower()], digits, bool(backwards), delimiters)
    return quote(value.encode("utf-8", "surrogateescape"), safe="") if letter.isupper() else value


def _transformed(value: str, digits: str, backwards: bool, delimiters: str) -> str:
    """Split, reverse, keep the rightmost parts, join with dots (section 7.3)."""
    if not (digits or backwards or delimiters):
        return value
    parts = re.split(f"[{re.escape(delimiters or '.')}]", value)
    if backwards:
        parts.reverse()
    number = digits.lstrip("0")
    kept = int(number) if number and len(number) <= _MAX_DIGITS else len(parts)
    return ".".join(parts[-kept:])


def shortened(name: str) -> str:
    """A name without its final dot that fits into a query: labels are removed on the left."""
    name = name.removesuffix(".")
    while len(name) > MAX_NAME_CHARACTERS:
        _, dot, rest = name.partition(".")
        if not dot:
            return name
        name = rest
    return name
