"""Docstrings say what a caller needs, and names in docstrings and comments are names that exist."""

import builtins
import functools
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.architecture.docstrings import MOMENTS, missing_docstrings, numbers_without_unit, unnamed_errors
from tests.architecture.purity import SOURCE

ROOT = SOURCE.parents[1]
TEXTS = {path.relative_to(SOURCE).as_posix(): path.read_text() for path in sorted(SOURCE.rglob("*.py"))}
PUBLIC_MODULES = ("resolver", "dkim", "arc", "spf", "dmarc", "tlsrpt", "net.dns", "identity.dane", "identity.tlsa")
"""The library, by docs/reference/public-api.md."""
NAMES = {"identity.dane": ("match_dane", "DaneMatch", "DaneMismatch"), "identity.tlsa": ("TLSARecord",)}
"""Of modules of which not everything is public."""


@pytest.mark.parametrize("shortcomings", [missing_docstrings, unnamed_errors, numbers_without_unit])
def test_public_docstrings_name_errors_and_units(shortcomings: Callable[[str], Iterator[str]]) -> None:
    found = {path: list(shortcomings(text)) for path, text in TEXTS.items()}
    assert {path: names for path, names in found.items() if names} == {}


def _library() -> Iterator[tuple[str, Any]]:
    """Every public function of the library, and every method of its classes, by name."""
    for module in PUBLIC_MODULES:
        imported = importlib.import_module(f"letterlock.{module}")
        for name in NAMES.get(module) or imported.__all__:
            exported = getattr(imported, name)
            members = vars(exported).items() if inspect.isclass(exported) else [("", exported)]
            for method, member in members:
                if inspect.isfunction(member) and (not method.startswith("_") or method in ("__init__", "__call__")):
                    yield f"{module}.{name}.{method}".removesuffix("."), (exported, member)


def test_the_library_says_in_which_seconds_a_moment_is() -> None:
    """Elsewhere the glossary's rule is enough; those who import the library have not read it."""
    silent = []
    for called, (exported, function) in _library():
        about = f"{inspect.getdoc(exported)} {function.__doc__}"
        moments = {
            name
            for name, each in inspect.signature(function).parameters.items()
            if name.rpartition("_")[2] in MOMENTS and each.annotation in (int, float, float | None)
        }
        if moments and "second" not in about:
            silent.append(called)
    assert silent == []


def test_the_page_names_the_modules_of_the_library() -> None:
    page = (ROOT / "docs/reference/public-api.md").read_text()
    assert set(PUBLIC_MODULES) == set(re.findall(r"`letterlock\.([\w.]+)`", page))


@functools.cache
def prose(text: str) -> tuple[str, ...]:
    """The comments and docstrings of a module, attributes' included; found by their look, which takes no time."""
    return (*re.findall(r'"""(.*?)"""', text, re.DOTALL), *re.findall(r"#.*$", text, re.MULTILINE))


def test_modules_that_prose_names_exist() -> None:
    """A file that was renamed is renamed where it is spoken of, too."""
    files = {path.name for room in ("src", "tests", "tools", "bench") for path in (ROOT / room).rglob("*.py")}
    rooms = {path.relative_to(SOURCE).as_posix().removesuffix(".py").replace("/", ".") for path in SOURCE.rglob("*.py")}
    rooms |= {path.relative_to(SOURCE).as_posix().replace("/", ".") for path in SOURCE.rglob("*") if path.is_dir()}
    wrong: list[tuple[str, str]] = []
    for path, text in TEXTS.items():
        words = "\n".join(prose(text))
        wrong += [(path, each) for each in re.findall(r"\b(\w+\.py)\b", words) if each not in files]
        dotted = re.findall(r"`letterlock\.([a-z_.]+)`", words)
        wrong += [(path, each) for each in dotted if not {each, each.rpartition(".")[0]} & rooms]
    assert wrong == []


OF_LIBRARIES = {
    "CancelledError", "ClickException", "DNSException", "Exit", "InvalidSignature", "InvalidTag", "NameTooLong",
    "NoParent", "UnsupportedAlgorithm", "UsageError",
}  # fmt: skip


def _exceptions() -> set[str]:
    """What can be raised: built-in, of libraries, and ours, by their bases."""
    bases: dict[str, set[str]] = {}
    for text in TEXTS.values():
        for name, parents in re.findall(r"^class (\w+)\((.*?)\):", text, re.MULTILINE):
            bases[name] = set(re.findall(r"\w+", parents))
    built_in = {
        name for name, each in vars(builtins).items() if inspect.isclass(each) and issubclass(each, BaseException)
    }
    known = built_in | OF_LIBRARIES
    while more := {name for name, each in bases.items() if each & known and name not in known}:
        known |= more
    return known


def test_what_prose_says_is_raised_is_an_exception() -> None:
    """`Raises X`, and X a class that was renamed or never was one that can be raised."""
    known = _exceptions()
    wrong: list[tuple[str, str]] = []
    for path, text in TEXTS.items():
        named = re.findall(r"\bRaises ([A-Z]\w+)", "\n".join(prose(text)))
        wrong += [(path, each) for each in named if each not in known]
    assert wrong == []


@pytest.mark.parametrize(
    ("check", "text", "found"),
    [
        (missing_docstrings, "def f(): pass", ["f"]),
        (missing_docstrings, "class C:\n    def f(self): pass", ["C", "C.f"]),
        (missing_docstrings, "def _f(): pass", []),
        (unnamed_errors, 'def f():\n    """Does."""\n    raise Lost("x")', ["f: Lost"]),
        (unnamed_errors, 'def f():\n    """Does. Raises Lost."""\n    raise Lost("x")', []),
        (unnamed_errors, 'class C:\n    """Raises Lost."""\n    def f(self):\n        raise room.Lost', []),
        (unnamed_errors, 'def f():\n    """Does."""\n    try: pass\n    except OSError: raise', []),
        (numbers_without_unit, 'def f(wait: float):\n    """Waits."""', ["f(wait)"]),
        (numbers_without_unit, 'def f(wait: float | None = 1.0):\n    """`wait` in seconds."""', []),
        (numbers_without_unit, 'def f(wait_seconds: float):\n    """Waits."""', []),
        (numbers_without_unit, 'class C:\n    """Is."""\n    size: int\n    room: int  # octets', ["C(size)"]),
        (numbers_without_unit, 'class C:\n    """All in seconds."""\n    wait: float', []),
    ],
)
def test_the_checks_see_what_they_are_for(check: Callable[[str], Iterator[str]], text: str, found: list[str]) -> None:
    assert list(check(text)) == found
