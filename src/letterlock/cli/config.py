"""`letterlock config`: show, check and describe the configuration."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from letterlock.app.checking import check_all
from letterlock.app.output import json_text
from letterlock.cli.configured import config_option, found_configuration
from letterlock.cli.importing.from_opensmtpd import from_opensmtpd
from letterlock.cli.importing.from_postfix import from_postfix
from letterlock.config import EX_CONFIG, BadConfig, load, require_sources
from letterlock.config.showing import effective, json_schema
from letterlock.config.wording import toml_text


@click.group()
def config() -> None:
    """Show what the configuration says, and check it.

    \b
    Exit status:
       0  done, or everything is as it should be
       1  the server could not start, or something deserves a warning
       2  usage error
      78  mistakes in the configuration
    """


@config.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="The same, as JSON.")
def show(config_path: Path | None, as_json: bool) -> None:
    """Show every key with the value in effect, and where it comes from.

    Secrets are never shown; of a key, only the name of its file.
    """
    try:
        options, keys = effective(found_configuration(config_path))
    except BadConfig as error:
        click.echo(str(error), err=True)
        sys.exit(EX_CONFIG)
    if as_json:
        values = [{"key": each.key, "value": each.value, "from": each.origin} for each in keys]
        click.echo(json_text({"source": options.source, "keys": json.loads(json.dumps(values, default=str))}, indent=2))
        return
    for each in sorted(keys, key=lambda each: ("." in each.key, each.key.partition(".")[0])):
        value = "(unset)" if each.value is None else toml_text(each.value)
        click.echo(f"{each.key} = {value}  # {each.origin}")


@config.command()
def schema() -> None:
    """Print the JSON Schema of the file, for editors that check TOML while you type."""
    click.echo(json_text(json_schema(), indent=2))


@config.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="The same, as JSON.")
def check(config_path: Path | None, as_json: bool) -> None:
    """Do what `serve` would do, short of serving.

    Reads the configuration with all files that it names, also as the service's user; opens the queue without writing;
    binds the addresses; asks the upstream resolvers; and warns of dangerous settings.
    """
    path = found_configuration(config_path)
    try:
        options = load(path)
        require_sources(options.source, options.sources)
    except BadConfig as error:
        if as_json:
            click.echo(json_text({"found": [*_mistaken(error)]}, indent=2))
        else:
            click.echo(str(error), err=True)
        sys.exit(EX_CONFIG)
    found = []
    for each in check_all(options, path):
        found.append(each)
        if not as_json:
            click.echo(f"{each.level:<8} {each.text}")
    if as_json:
        click.echo(json_text({"found": [{"level": each.level, "text": each.text} for each in found]}, indent=2))
    sys.exit(0 if all(each.level == "ok" for each in found) else 1)


def _mistaken(error: BadConfig) -> Iterator[dict[str, object]]:
    """What `check` found, where the mistakes leave nothing else to check."""
    for each in error.mistakes:
        place = f"{error.source}:{each.line}" if each.line else error.source
        text = ": ".join(part for part in (place, each.key, each.message) if part)
        parts = {"file": error.source, "line": each.line, "key": each.key, "message": each.message, "hint": each.hint}
        yield {"level": "error", "text": f"{text}; hint: {each.hint}" if each.hint else text, **parts}


config.add_command(from_postfix)
config.add_command(from_opensmtpd)
