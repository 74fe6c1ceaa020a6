"""The command `letterlock` and its verbs."""

import importlib

import click

import letterlock

VERBS = {
    "serve": "letterlock.cli.serve",
    "check": "letterlock.cli.check",
    "probe": "letterlock.cli.probe",
    "explain": "letterlock.cli.explain",
    "resolve": "letterlock.cli.resolve",
    "queue": "letterlock.cli.queue",
    "lab": "letterlock.cli.lab",
}


class LazyGroup(click.Group):
    """A group that imports a verb only when it is used, so that every verb starts quickly."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """The verbs, in the order in which a newcomer meets them."""
        return list(VERBS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        """The click command of a verb."""
        if name not in VERBS:
            return None
        command: click.Command = getattr(importlib.import_module(VERBS[name]), name)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(letterlock.__version__, prog_name="letterlock")
def main() -> None:
    """A mail transfer agent whose deliveries cannot be downgraded.

    It validates DNSSEC itself, applies DANE and the operator's own rules, falls back only where falling back is
    proven safe, and explains every decision.
    """
