"""Manual pages and completions: made from the commands, and fit for the programs that read them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from tools.manual import subcommands

from letterlock.cli.main import main as letterlock_command
from tests.interop.programs import find, run, try_run

ROOT = Path(__file__).resolve().parent.parent
PACKAGING = ROOT / "packaging"
PAGES = sorted((PACKAGING / "man").glob("*.1"))


def every_command(command: click.Command, name: str, parent: click.Context | None = None) -> list[click.Context]:
    context = click.Context(command, info_name=name, parent=parent, **command.context_settings)
    found = [context]
    if isinstance(command, click.Group):
        for verb, each in subcommands(command, context):
            found += every_command(each, verb, context)
    return found


def test_the_files_are_those_that_the_code_makes() -> None:
    # In a process of its own: Click remembers the help option of a verb as it was first used, and tests of this process
    # use verbs without the group that adds -h.
    program = "import json, sys; from tools.manual import packaged; json.dump(packaged(), sys.stdout)"
    made = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    for name, text in json.loads(made.stdout).items():
        assert (PACKAGING / name).read_text() == text, f"{name}: run tools/docs.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_formatted_without_a_warning(page: Path) -> None:
    status, out, complaints = try_run("groff", "-man", "-ww", "-Tutf8", "-z", page)
    assert (status, out, complaints) == (0, "", "")


def test_every_option_of_every_verb_is_in_its_page() -> None:
    for context in every_command(letterlock_command, "letterlock"):
        page = PACKAGING / "man" / f"{context.command_path.replace(' ', '-')}.1"
        shown = page.read_text().replace("\\-", "-")
        options = [each for each in context.command.get_params(context) if isinstance(each, click.Option)]
        assert all(name in shown for each in options if not each.hidden for name in each.opts), page.name


@pytest.mark.parametrize(("shell", "check"), [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")])
def test_a_completion_file_is_in_the_language_of_its_shell(shell: str, check: str) -> None:
    [file] = (PACKAGING / "completions" / shell).iterdir()
    assert run(shell, check, file) == ""


def test_bash_completes_the_verbs_of_a_group() -> None:
    file = PACKAGING / "completions/bash/letterlock"
    asked = "COMP_WORDS=(letterlock queue re); COMP_CWORD=2; _letterlock_completion letterlock"
    script = f'. "{file}"; {asked}; echo "${{COMPREPLY[@]}}"'
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run([find("bash"), "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert sorted(done.stdout.split()) == ["release", "remove", "retry"]


def test_zsh_finds_the_file_and_completes_the_verbs_of_a_group() -> None:
    """compinit maps the command to the file; what its function would offer is printed instead of shown."""
    script = f"""
        fpath=({PACKAGING}/completions/zsh $fpath); autoload -Uz compinit; compinit -D -u
        _describe() {{ print -rl -- "${{(@P)3}}" }}
        compadd() {{ print -rl -- "$@" }}
        words=(letterlock queue re); CURRENT=3; $_comps[letterlock]
    """
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run([find("zsh"), "-fc", script], env=environment, capture_output=True, text=True, check=True)
    assert sorted(line.split(":")[0] for line in done.stdout.splitlines()) == ["release", "remove", "retry"]


def test_fish_completes_the_verbs_of_a_group() -> None:
    file = PACKAGING / "completions/fish/letterlock.fish"
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [find("fish"), "--no-config", "-c", f'source "{file}"; complete -C "letterlock queue re"']
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert sorted(line.split()[0] for line in done.stdout.splitlines()) == ["release", "remove", "retry"]
