"""`letterlock` without a verb: its help and completions name every verb, and import none."""

import subprocess
import sys

import click

from letterlock.cli.main import SUMMARY_CHARACTERS, VERBS, main

IMPORTED = """
import sys
from click.testing import CliRunner
from letterlock.cli.main import main
print(CliRunner().invoke(main, ["--help"]).output)
heavy = {"pydantic", "cryptography", "dns", "asyncio", "letterlock.config", "letterlock.policy"}
print(sorted(heavy & set(sys.modules)))
"""


def test_help_names_each_verb_on_a_line_of_its_own_and_imports_none() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True)
    *lines, imported = done.stdout.splitlines()
    for name, verb in VERBS.items():
        assert f"  {name.ljust(10)}  {verb.summary}" in lines
    assert imported == "[]"


def test_a_summary_is_a_sentence_that_fits_a_terminal() -> None:
    for name, verb in VERBS.items():
        assert len(verb.summary) <= SUMMARY_CHARACTERS, name
        assert verb.summary[0].isupper(), name
        assert verb.summary.endswith("."), name


def test_completion_offers_the_verbs_and_options_that_begin_so() -> None:
    context = click.Context(main)
    assert [item.value for item in main.shell_complete(context, "check")] == ["check", "check-mail"]
    assert [item.value for item in main.shell_complete(context, "--v")] == ["--version"]
    assert all(item.help for item in main.shell_complete(context, "s"))
