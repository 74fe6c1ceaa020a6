"""Pages that list what the code has list all of it."""

import ast
import re
from pathlib import Path

from tests.architecture.purity import SOURCE

DOCS = SOURCE.parents[1] / "docs"


def rows(page: Path) -> list[list[str]]:
    """The cells of all tables on a page."""
    lines = page.read_text().splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]


def _names(cell: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", cell))


def test_the_pipeline_page_has_every_step() -> None:
    """Steps are the classes with a method of a stage that `receive/steps.py` imports."""
    stages = {"sender", "recipient", "message"}
    steps = set()
    for path in (SOURCE / "receive").glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and path.stem not in ("pipeline", "steps"):
                methods = {each.name for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
                steps |= {node.name} if methods & stages else set()
    imported = set(re.findall(r"\w+", (SOURCE / "receive" / "steps.py").read_text()))
    listed = [_names(cells[0]) for cells in rows(DOCS / "concepts/pipeline.md") if cells[0][:2].lower() != cells[0][:2]]
    assert set().union(*listed) == steps & imported


def test_the_architecture_page_has_every_room() -> None:
    rooms = {path.stem for path in SOURCE.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    listed = set().union(*(_names(cells[0]) for cells in rows(DOCS / "concepts/architecture.md")))
    assert rooms <= listed


def test_each_decision_is_dated_with_a_status_and_in_the_list() -> None:
    listed = {cells[1]: cells[2:] for cells in rows(DOCS / "decisions/README.md")}
    for page in sorted((DOCS / "decisions").glob("0*.md")):
        title, _, dated = page.read_text().splitlines()[:3]
        found = re.fullmatch(r"Date: (\d{4}-\d\d-\d\d)\. Status: (.*)\.", dated)
        assert found is not None, page.name
        status = re.sub(r"\[(\d+)\]\(.*?\)", r"\1", found[2])
        link = f"[{title.partition('. ')[2]}]({page.name})"
        assert listed.get(link) == [found[1], status]
