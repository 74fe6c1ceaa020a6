"""The command `letterlock` and its verbs."""

import importlib
import os
from typing import Any

import click

import letterlock
from letterlock.app.output import guarded_streams

EXIT_INTERRUPTED = 130  # 128 + SIGINT, as a shell shows
COMPLETION = "_LETTERLOCK_COMPLETE"  # set by the scripts in packaging/completions when a shell completes a command line

VERBS = {
    "setup": "letterlock.cli.setup.command",
    "serve": "letterlock.cli.serve",
    "check": "letterlock.cli.check.command",
    "check-mail": "letterlock.cli.check_mail.command",
    "probe": "letterlock.cli.probe.command",
    "explain": "letterlock.cli.explain",
    "resolve": "letterlock.cli.resolve",
    "config": "letterlock.cli.config",
    "route": "letterlock.cli.show_route",
    "aliases": "letterlock.cli.aliases",
    "status": "letterlock.cli.status",
    "reload": "letterlock.cli.reload",
    "queue": "letterlock.cli.queue.command",
    "top": "letterlock.cli.top",
    "stats": "letterlock.cli.stats.command",
    "log": "letterlock.cli.log.command",
    "reports": "letterlock.cli.report_verbs",
    "memory": "letterlock.cli.memory_verbs",
    "sts": "letterlock.cli.sts_verbs",
    "dkim": "letterlock.cli.dkim",
    "users": "letterlock.cli.users",
    "companion": "letterlock.cli.companion",
    "policy": "letterlock.cli.policy_verbs",
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
        command: click.Command = getattr(importlib.import_module(VERBS[name]), name.replace("-", "_"))
        return command

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command with its output guarded; completion prints nothing but our own words, and as bytes."""
        if COMPLETION in os.environ:
            return super().main(*args, **extra)
        with guarded_streams():
            return super().main(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; Ctrl-C ends it in one line."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(EXIT_INTERRUPTED)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(letterlock.__version__, prog_name="letterlock")
def main() -> None:
    """A mail transfer agent whose deliveries cannot be downgraded.

    It validates DNSSEC itself, enforces DANE, MTA-STS and your own rules, falls back only where that is proven safe,
    and explains every decision.

    Every command also exits with status 74 if its output cannot be written, 130 if it is interrupted, and 141 if the
    reader of its output has gone.
    """
