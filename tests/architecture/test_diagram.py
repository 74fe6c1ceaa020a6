"""The diagram of the rooms says what the imports say."""

import re
from pathlib import Path

import pytest
from tools.diagram import BEGIN, PAGE, diagram, floors, needed, page
from tools.shape import modules, room_arrows

ROOT = Path(__file__).resolve().parents[2]


def test_an_arrow_that_a_path_of_others_implies_is_left_out() -> None:
    arrows = {"a": {"b", "c", "d"}, "b": {"c"}, "c": {"d"}, "d": set[str]()}
    assert dict(needed(arrows)) == {"a": ["b"], "b": ["c"], "c": ["d"], "d": []}


def test_each_floor_is_a_row_and_rooms_that_are_not_shown_have_no_arrows() -> None:
    assert diagram([["a"], ["b", "c"]], {"a": {"b", "c", "tool"}, "b": {"tool"}}) == (
        "```mermaid\nflowchart TB\n  a ~~~ b & c\n  a --> b & c\n```\n"
    )


def test_the_arrows_of_the_diagram_lead_down_and_reach_whatever_is_imported() -> None:
    rows, imported = floors(ROOT), room_arrows(modules(ROOT))
    floor = {room: number for number, row in enumerate(rows) for room in row}
    shown: dict[str, set[str]] = {room: set() for room in floor}
    for room, below in re.findall(r"^  (\w+) --> (.+)$", (ROOT / PAGE).read_text(), re.MULTILINE):
        shown[room] = set(below.split(" & "))
        assert all(floor[each] > floor[room] for each in shown[room])
    for room in reversed(floor):  # from the lowest floor up, so that what lies below is whole
        shown[room] = shown[room].union(*(shown[each] for each in shown[room]))
        assert imported.get(room, set()) & set(floor) <= shown[room], room


def test_a_page_without_a_place_for_the_diagram_is_an_error(tmp_path: Path) -> None:
    (tmp_path / PAGE).parent.mkdir(parents=True)
    for text in ("# Architecture\n", BEGIN):
        (tmp_path / PAGE).write_text(text)
        with pytest.raises(ValueError, match="place for the diagram"):
            page(tmp_path)
