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


def changelog_faults(text: str) -> list[str]:
    """What merges do to a changelog: lines twice, lines outside of a section, sections in a wrong order."""
    faults = []
    for version in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        name, _, body = version.partition("\n")
        before, *sections = re.split(r"^### ", body, flags=re.MULTILINE)
        titles = [each.partition("\n")[0] for each in sections]
        faults += [f"{name}: a line outside of a section"] if "\n- " in f"\n{before}" else []
        faults += [] if titles == [each for each in SECTIONS if each in titles] else [f"{name}: {titles}"]
        entries = [" ".join(each.split()) for each in re.split(r"^(?=- |### )", body, flags=re.MULTILINE)]
        faults += sorted(
            {f"{name}: {each} (twice)" for each in entries if each[:2] == "- " and entries.count(each) > 1}
        )
    return faults


SECTIONS = ("Added", "Changed", "Fixed", "Security")


def test_the_changelog_is_in_order() -> None:
    assert changelog_faults((DOCS.parent / "CHANGELOG.md").read_text()) == []


def test_what_is_wrong_in_a_changelog_is_seen() -> None:
    assert changelog_faults("## 1\n\n### Added\n\n- a\n  b\n\n### Fixed\n\n- c\n") == []
    assert changelog_faults("## 1\n- c\n\n### Added\n\n- a\n") == ["1: a line outside of a section"]
    assert changelog_faults("## 1\n\n### Added\n\n- a\n  b\n- a b\n") == ["1: - a b (twice)"]
    assert changelog_faults("## 1\n\n### Fixed\n\n- a\n\n### Added\n\n- b\n") == ["1: ['Fixed', 'Added']"]
