"""What counts as a fault, what is left alone, and how results are counted and told."""

import ast
import datetime as dt
from pathlib import Path

import pytest

from tests.mutation.mutants import mutants
from tests.mutation.page import write_page
from tests.mutation.results import Result, count, read_results, write_results
from tests.mutation.rooms import ROOMS
from tests.mutation.sandbox import ROOT, CannotTry, Sandbox

KILLED = Result("policy/judge.py", 3, "judge", "a → b", "killed")
LATE = Result("policy/judge.py", 4, "judge", "b → c", "timeout")
SURVIVED = Result("policy/sts.py", 5, "Rules.find", "c → d", "survived")


def changes(source: str) -> list[str]:
    return [mutant.change for mutant in mutants("m.py", source)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = a == b", ["a == b → a != b"]),
        ("x = a < b", ["a < b → a <= b", "a < b → a >= b"]),
        ("x = a <= b < c", [f"a <= b < c → a {op} c" for op in ("< b <", "> b <", "<= b <=", "<= b >=")]),
        ("x = a is b", ["a is b → a is not b"]),
        ("x = a not in b", ["a not in b → a in b"]),
        ("x = a and b", ["a and b → a or b"]),
        ("x = not a", ["not a → a"]),
        ("x = a + b", ["a + b → a - b"]),
        ("x = b if a else c", ["b if a else c → b if not a else c"]),
        ("if a:\n    x = b", ["a → not a"]),
        ("x = [a for a in b if a]", ["for a in b if a → for a in b"]),
        ("x = 1", ["1 → 2"]),
        ("x = True", ["True → False"]),
        ("x = 'a'", ["'a' → 'a~'"]),
        ("x = b'a'", ["b'a' → b'a~'"]),
        ("x = f'a{b}'", ["'a' → 'a~'"]),
        ("def f():\n    return a", ["return a → return None"]),
        ("x = f(a, b=c)", ["f(a, b=c) → f(a)"]),
        ("x = any(a)", ["any(a) → all(a)"]),
        ("f(a)", ["f(a) → pass"]),
        ("def f():\n    raise E('why', 1)", ["raise E('why', 1) → pass"]),
        ("for a in b:\n    continue", ["continue → break"]),
        ("match a:\n    case B():\n        x = b\n    case C():\n        x = c",
         ["case B() → case dropped", "case C() → case dropped"]),
    ],
)  # fmt: skip
def test_each_kind_of_fault(source: str, expected: list[str]) -> None:
    assert changes(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        '"""A docstring."""',
        "from a import b",
        "__all__ = ['a']",
        "class A(StrEnum):\n    B = 'b'",
        "@f(True)\ndef g(a: 'A') -> 'B':\n    pass",
        "class A:\n    a: 'A | None'",
        "A = B | C",
        "def f():\n    return None",
        "T = TypeVar('T')",
        "def f():\n    return",
        "match a:\n    case 1:\n        pass",
        "x = None",
        "x = f'{a:5}'",
        "x = f(**a)",
    ],
)
def test_what_no_test_ought_to_hold_is_left_alone(source: str) -> None:
    assert changes(source) == []


def test_a_mutant_is_the_module_with_that_one_fault() -> None:
    source = "import a\n\n\ndef f(b):\n    c = b + 1  # why\n    return c\n"
    found = {mutant.change: mutant for mutant in mutants("m.py", source)}
    assert set(found) == {"b + 1 → b - 1", "1 → 2", "return c → return None"}
    assert found["1 → 2"].source == "import a\ndef f(b):\n    c = b + 2\n    return c\n"
    assert (found["1 → 2"].place, found["1 → 2"].scope) == ("m.py:5", "f")


def test_of_a_long_line_only_what_differs_is_told() -> None:
    source = f"f({'a, ' * 40}b=c, d=e)"
    assert "… a, a, a, a, a, b=c, d=e) → … a, a, a, a, a, d=e)" in changes(source)


def test_like_faults_in_one_function_are_numbered() -> None:
    assert changes("def f():\n    g(1)\n    g(1)") == [
        "g(1) → pass", "1 → 2", "g(1) → pass (2)", "1 → 2 (2)",
    ]  # fmt: skip


def test_the_scope_is_the_way_to_the_function() -> None:
    assert [one.scope for one in mutants("m.py", "class A:\n    def f(self):\n        return 1")] == ["A.f", "A.f"]


@pytest.mark.parametrize("module", ["policy/judge.py", "policy/sts.py", "identity/dane.py"])
def test_every_mutant_of_the_code_can_be_read_and_has_a_name_of_its_own(module: str) -> None:
    made = mutants(module, (ROOT / "src" / "letterlock" / module).read_text())
    assert len({mutant.key for mutant in made}) == len(made)
    for mutant in made:
        ast.parse(mutant.source)


def test_the_texts_of_reasons_are_not_mutated() -> None:
    policy = ROOMS[0]
    assert "policy/judge.py" in policy.modules(ROOT)
    assert "policy/reason_table.py" not in policy.modules(ROOT)


def test_a_modules_own_tests_are_asked_first_and_the_slow_ones_last() -> None:
    own, everything, slow = ROOMS[1].stages("identity/dane.py", ROOT)
    assert own == ("tests/identity/test_dane.py",)
    assert everything[0] == "tests/identity"
    assert [f"--ignore={path}" for path in slow] == list(everything[1:])


def test_late_is_killed_and_figures_are_by_prefix() -> None:
    found = count((KILLED, LATE, SURVIVED), "policy/")
    assert (found.mutants, found.killed, found.timeout, found.survived) == (3, 2, 1, 1)
    assert round(found.percent, 1) == 66.7
    assert count((KILLED, SURVIVED), "policy/judge.py").percent == 100
    assert count((), "policy/").percent == 100


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    write_results(tmp_path / "results.json", (KILLED, LATE, SURVIVED))
    assert read_results(tmp_path / "results.json") == (KILLED, LATE, SURVIVED)


def test_the_page_tells_each_survivor_with_its_reason() -> None:
    reasons = {SURVIVED.key: "it is the same"}
    page = write_page((KILLED, LATE, SURVIVED), reasons, commit="abc", date=dt.date(2026, 1, 2))
    assert "Figures of 2026-01-02, commit abc:" in page
    assert "| `policy/judge.py` | 2 | 2 | 1 | 0 | 100.0 |" in page
    assert "| **policy** | 3 | 2 | 1 | 1 | 66.7 |" in page
    assert "- line 5, Rules.find: `c → d`: it is the same\n" in page
    assert "not explained" in write_page((SURVIVED,), {}, commit="abc", date=dt.date(2026, 1, 2))


def test_a_process_that_knows_the_code_under_test_makes_no_sandbox() -> None:
    import letterlock.policy

    assert letterlock.policy.__doc__
    with pytest.raises(CannotTry):
        Sandbox()
