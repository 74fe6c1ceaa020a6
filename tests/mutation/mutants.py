"""The mutants of one module: each is the module with one small fault, made on its syntax tree.

What is left alone, because no test ought to hold it: docstrings, annotations, decorators, imports, the texts of enum
members, the messages of raised exceptions, `__all__`, and the shape of patterns.
"""

import ast
import copy
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

_T = TypeVar("_T")
_MAX_WHOLE, _AROUND = 80, 16

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_CALLS = {"any": "all", "all": "any", "min": "max", "max": "min"}
_NOT_MUTATED = {
    ast.arg: ("annotation",),
    ast.FunctionDef: ("decorator_list", "returns"),
    ast.AsyncFunctionDef: ("decorator_list", "returns"),
    ast.ClassDef: ("decorator_list", "bases", "keywords"),
    ast.AnnAssign: ("annotation", "target"),
    ast.FormattedValue: ("format_spec",),
    ast.match_case: ("pattern",),
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault: where, and what was changed. `source` is the whole mutated module, without its comments.

    `scope` is the function or class, and with `change` names the mutant for as long as that line stays as it is.
    """

    module: str
    line: int
    scope: str
    change: str
    source: str

    @property
    def place(self) -> str:
        """File and line."""
        return f"{self.module}:{self.line}"

    @property
    def key(self) -> tuple[str, str, str]:
        """What names it in the list of survivors."""
        return self.module, self.scope, self.change


@dataclass(frozen=True, slots=True)
class _Site:
    """A node that can be replaced: `owner.field`, or `owner.field[index]`."""

    owner: ast.AST
    field: str
    index: int | None
    node: ast.AST
    scope: str

    def put(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.owner, self.field, node)
        else:
            getattr(self.owner, self.field)[self.index] = node


def mutants(module: str, source: str) -> tuple[Mutant, ...]:
    """All mutants of a module, in the order of its lines. Raises SyntaxError for a source that is no Python."""
    tree = ast.parse(source)
    pieces = [ast.unparse(statement) for statement in tree.body]
    made: list[Mutant] = []
    seen: Counter[tuple[str, str]] = Counter()
    for place, statement in enumerate(tree.body):
        for site in _sites(tree, "body", place, statement, "module"):
            for old, new in _alternatives(site):
                change = _say_change(_say(old), _say(new))
                seen[site.scope, change] += 1
                if (nth := seen[site.scope, change]) > 1:
                    change += f" ({nth})"
                source = _with(tree, site, new, pieces, place)
                made.append(Mutant(module, getattr(old, "lineno", statement.lineno), site.scope, change, source))
    return tuple(sorted(made, key=lambda mutant: mutant.line))


def _with(tree: ast.Module, site: _Site, new: ast.AST, pieces: list[str], place: int) -> str:
    """The module with one node replaced; the top-level statements around it are not rendered anew."""
    site.put(new)
    try:
        piece = ast.unparse(tree.body[place])
    finally:
        site.put(site.node)
    return "\n".join((*pieces[:place], piece, *pieces[place + 1 :], ""))


def _sites(owner: ast.AST, field: str, index: int | None, node: ast.AST, scope: str) -> Iterator[_Site]:
    """A node and everything in it that may be mutated."""
    if _is_left_alone(node):
        return
    yield _Site(owner, field, index, node, scope)
    if isinstance(node, ast.Raise):
        return  # that it is raised matters, not its words
    inner = _inner_scope(node, scope)
    for name, value in ast.iter_fields(node):
        if name in _NOT_MUTATED.get(type(node), ()):
            continue
        if isinstance(value, ast.AST):
            yield from _sites(node, name, None, value, inner)
        elif isinstance(value, list):
            for place, one in enumerate(value):
                if isinstance(one, ast.AST):
                    yield from _sites(node, name, place, one, inner)


def _inner_scope(node: ast.AST, scope: str) -> str:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return scope
    return node.name if scope == "module" else f"{scope}.{node.name}"


def _is_left_alone(node: ast.AST) -> bool:
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
            return True
        case ast.ClassDef(bases=bases):
            return any(isinstance(base, ast.Name) and base.id.endswith("Enum") for base in bases)
        case ast.Assign(targets=[ast.Name(id="__all__")]) | ast.Assign(value=ast.Call(func=ast.Name(id="TypeVar"))):
            return True
    return False


def _alternatives(site: _Site) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Pairs of what is shown as changed: the node as it is, and as the fault has it."""
    node = site.node
    match node:
        case ast.Compare():
            yield from _comparisons(node)
        case ast.BoolOp(op=op):
            other = ast.Or() if isinstance(op, ast.And) else ast.And()
            yield node, ast.BoolOp(other, node.values)
        case ast.UnaryOp(op=ast.Not()):
            yield node, node.operand
        case ast.BinOp(op=op) if type(op) in _ARITHMETIC:
            yield node, ast.BinOp(node.left, _ARITHMETIC[type(op)](), node.right)
        case ast.If() | ast.While() | ast.IfExp():
            yield from _conditions(node)
        case ast.comprehension():
            yield from _without_filters(node)
        case ast.Constant():
            yield from ((node, ast.Constant(value)) for value in _other_values(node.value))
        case ast.Return(value=ast.expr() as value) if not _is_nothing(value):
            yield node, ast.Return(ast.Constant(None))
        case ast.Call():
            yield from _calls(node)
        case ast.Match() if len(node.cases) > 1:
            yield from _without_cases(node)
        case _:
            yield from _statements(node)


def _comparisons(node: ast.Compare) -> Iterator[tuple[ast.AST, ast.AST]]:
    for place, op in enumerate(node.ops):
        for other in _COMPARISONS[type(op)]:
            yield node, ast.Compare(node.left, _replaced(node.ops, place, other()), node.comparators)


def _conditions(node: ast.If | ast.While | ast.IfExp) -> Iterator[tuple[ast.AST, ast.AST]]:
    """The condition turned round, where no other mutant does just that."""
    test = node.test
    turned = isinstance(test, ast.Compare) and len(test.ops) == 1
    if turned or (isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)) or _is_constant(test):
        return
    mutated = copy.copy(node)
    mutated.test = ast.UnaryOp(ast.Not(), test)
    yield node, mutated


def _without_filters(node: ast.comprehension) -> Iterator[tuple[ast.AST, ast.AST]]:
    for place in range(len(node.ifs)):
        yield node, ast.comprehension(node.target, node.iter, _without(node.ifs, place), node.is_async)


def _without_cases(node: ast.Match) -> Iterator[tuple[ast.AST, ast.AST]]:
    for place in range(len(node.cases)):
        yield node.cases[place].pattern, ast.Match(node.subject, _without(node.cases, place))


def _calls(node: ast.Call) -> Iterator[tuple[ast.AST, ast.AST]]:
    """A keyword argument dropped; any for all, min for max."""
    for place, keyword in enumerate(node.keywords):
        if keyword.arg is not None:
            yield node, ast.Call(node.func, node.args, _without(node.keywords, place))
    if isinstance(node.func, ast.Name) and node.func.id in _CALLS:
        yield node, ast.Call(ast.Name(_CALLS[node.func.id], ast.Load()), node.args, node.keywords)


def _statements(node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    match node:
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Raise() | ast.Delete():
            yield node, ast.Pass()
        case ast.Continue():
            yield node, ast.Break()
        case ast.Break():
            yield node, ast.Continue()


def _other_values(value: object) -> Iterable[str | bytes | bool | int | float]:
    match value:
        case bool():
            return (not value,)
        case int() | float():
            return (value + 1,)
        case str():
            return (value + "~",)
        case bytes():
            return (value + b"~",)
    return ()


def _is_nothing(node: ast.AST) -> bool:
    """None, or False, which None is as good as."""
    return isinstance(node, ast.Constant) and (node.value is None or node.value is False)


def _is_constant(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant)


def _without(items: list[_T], place: int) -> list[_T]:
    return [*items[:place], *items[place + 1 :]]


def _replaced(items: list[_T], place: int, new: _T) -> list[_T]:
    return [*items[:place], new, *items[place + 1 :]]


def _say(node: ast.AST) -> str:
    """A node on one short line; of statements with a body only the head."""
    if isinstance(node, ast.Match):
        return "case dropped"
    if isinstance(node, ast.pattern):
        return f"case {ast.unparse(node)}"
    return " ".join(ast.unparse(node.test if isinstance(node, ast.If | ast.While) else node).split())


def _say_change(old: str, new: str) -> str:
    """Both, or where they are long only what differs, with a little of what stands around it."""
    if max(len(old), len(new)) <= _MAX_WHOLE:
        return f"{old} → {new}"
    start = _alike(old, new)
    end = min(_alike(old[::-1], new[::-1]), len(old) - start, len(new) - start)
    first, last = max(0, start - _AROUND), max(0, end - _AROUND)
    before, after = "…" if first else "", "…" if last else ""
    return f"{before}{old[first : len(old) - last]}{after} → {before}{new[first : len(new) - last]}{after}"


def _alike(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    places = range(min(len(one), len(other)))
    return next((place for place in places if one[place] != other[place]), len(places))
