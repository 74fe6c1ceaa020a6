"""The DKIM selectors of the operator's own domains: those that their configuration names, and those that rotate."""

from collections.abc import Collection

import click

from letterlock.config import Options
from letterlock.mailauth.dkim.rotation import KeyPhase
from letterlock.state.key_directory import KeyDirectory, KeyDirectoryFailed


def own_selectors(options: Options, domains: Collection[str]) -> dict[str, tuple[str, ...]]:
    """The selectors of each of these domains that has any. A key directory that cannot be read is a warning."""
    found = {domain: selectors for domain, selectors in options.dkim_selectors if domain in domains}
    for domain, path in options.key_directories:
        if domain not in domains:
            continue
        try:
            keys = KeyDirectory(path).read()
        except KeyDirectoryFailed as error:
            click.echo(f"warning: the DKIM keys of {domain} are not shown: {error}", err=True)
        else:
            found[domain] = tuple(each.selector for each in keys if each.phase is not KeyPhase.RETIRED)
    return found
