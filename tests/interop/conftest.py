"""The lab, started once for all interop tests; and the logs of its programs beside every failure."""

from collections.abc import Generator, Iterator

import pytest

from tests.interop.lab import Lab, lab
from tests.interop.programs import running_programs


@pytest.fixture(name="lab", scope="session")
def lab_fixture() -> Iterator[Lab]:
    """The running laboratory."""
    with lab() as running:
        yield running


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the programs logged when a test fails."""
    report = yield
    if report.failed:
        report.sections += [(f"log of {program.name}", program.tail()) for program in running_programs]
    return report
