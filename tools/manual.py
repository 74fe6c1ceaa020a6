"""Manual pages and shell completion, made from the commands that `--help` is made from.

tools/docs.py writes them to packaging/man and packaging/completions, and checks that they agree with the code; the
wheel and the Debian package install them.
"""

import inspect
import re
from collections.abc import Iterator

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

import letterlock
from letterlock.cli.main import COMPLETION
from letterlock.cli.main import main as letterlock_command
from letterlock.sendmail.command import HELP as SENDMAIL_HELP
from letterlock.sendmail.command import NEWALIASES_HELP
from letterlock.sendmail.mailq import HELP as MAILQ_HELP

COMPLETIONS = {
    BashComplete: "letterlock",
    ZshComplete: "_letterlock",
    FishComplete: "letterlock.fish",
}  # a file name each
SENDMAIL_PAGES = {
    "letterlock-sendmail": ("send a message through the running Letterlock, as sendmail does", SENDMAIL_HELP),
    "letterlock-newaliases": ("check the files of aliases, as newaliases does", NEWALIASES_HELP),
    "letterlock-mailq": ("print the queue of the running Letterlock, as mailq does", MAILQ_HELP),
}
PARAGRAPHS = re.compile(r"\n\s*\n")


def roff(text: str) -> str:
    """Text as troff takes it: no backslash, hyphen or leading control character keeps a meaning."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", escaped, flags=re.MULTILINE)


def heading(name: str, summary: str) -> str:
    """The title and the NAME section. There is no date: the same code makes the same page on every day."""
    title = f'.TH "{roff(name.upper())}" 1 "" "Letterlock {letterlock.__version__}" "Letterlock manual"'
    return f"{title}\n.ad l\n.SH NAME\n{roff(name)} \\- {roff(summary)}\n"


def paragraphs(text: str) -> Iterator[str]:
    """A help text as paragraphs; one that starts with \\b keeps its lines, as click shows it."""
    for paragraph in PARAGRAPHS.split(inspect.cleandoc(text).strip()):
        if paragraph.startswith("\b"):
            yield f".PP\n.nf\n{roff(paragraph[1:].strip(chr(10)))}\n.fi\n"
        else:
            yield f".PP\n{roff(' '.join(paragraph.split()))}\n"


def options(context: click.Context) -> Iterator[str]:
    """The OPTIONS section."""
    records = (parameter.get_help_record(context) for parameter in context.command.get_params(context))
    yield ".SH OPTIONS\n"
    yield from (f".TP\n.B {roff(record[0])}\n{roff(record[1])}\n" for record in records if record and record[1])


def subcommands(group: click.Group, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    """The verbs of a group."""
    for name in group.list_commands(context):
        verb = group.get_command(context, name)
        if verb:
            yield name, verb


def see_also(names: list[str]) -> str:
    """The SEE ALSO section."""
    return ".SH SEE ALSO\n" + ",\n".join(f"\\fB{roff(name)}\\fP(1)" for name in names) + "\n"


def page(command: click.Command, context: click.Context) -> str:
    """The manual page of one command."""
    path, name = context.command_path, context.command_path.replace(" ", "-")
    help_text = command.help or ""
    summary = " ".join(PARAGRAPHS.split(inspect.cleandoc(help_text))[0].split()).rstrip(".")
    usage = " ".join(command.collect_usage_pieces(context))
    parts = [heading(name, summary), f".SH SYNOPSIS\n.B {roff(path)}\n{roff(usage)}\n", ".SH DESCRIPTION\n"]
    parts += [*paragraphs(help_text), *options(context)]
    related = [context.parent.command_path.replace(" ", "-")] if context.parent else list(SENDMAIL_PAGES)
    if isinstance(command, click.Group):
        verbs = list(subcommands(command, context))
        related += [f"{name}-{verb}" for verb, _ in verbs]
        parts.append(".SH COMMANDS\n")
        parts += [f".TP\n.B {roff(f'{path} {verb}')}\n{roff(each.get_short_help_str(200))}\n" for verb, each in verbs]
    return "".join([*parts, see_also(related)])


def command_pages(command: click.Command, name: str, parent: click.Context | None = None) -> Iterator[tuple[str, str]]:
    """The file name and the text of the pages of a command and of all its verbs."""
    context = click.Context(command, info_name=name, parent=parent, **command.context_settings)
    yield f"{context.command_path.replace(' ', '-')}.1", page(command, context)
    if isinstance(command, click.Group):
        for verb, each in subcommands(command, context):
            yield from command_pages(each, verb, context)


def manual_pages() -> dict[str, str]:
    """All manual pages by file name."""
    pages = dict(command_pages(letterlock_command, "letterlock"))
    for name, (summary, text) in SENDMAIL_PAGES.items():
        usage, _, rest = text.partition("\n")
        synopsis = f".SH SYNOPSIS\n.B {roff(usage.removeprefix('usage: '))}\n"
        described = f".SH DESCRIPTION\n.nf\n{roff(rest.strip(chr(10)))}\n.fi\n"
        pages[f"{name}.1"] = heading(name, summary) + synopsis + described + see_also(["letterlock"])
    return pages


def completions() -> dict[str, str]:
    """The completion files of the shells, by path below the folder of completions: click's own scripts."""
    files = {}
    for kind, file in COMPLETIONS.items():
        made = kind(letterlock_command, {}, "letterlock", COMPLETION)
        # `source()` would ask the bash of this machine for its version first; the script itself is the same.
        files[f"{kind.name}/{file}"] = made.source_template % made.source_vars()
    return files


def packaged() -> dict[str, str]:
    """Every file that is made here, by its path below packaging/."""
    pages = {f"man/{name}": text for name, text in manual_pages().items()}
    return pages | {f"completions/{name}": text for name, text in completions().items()}
