"""The command `letterlock` and its verbs."""

import importlib
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem

import letterlock
from letterlock.app.output import guarded_streams

EXIT_INTERRUPTED = 130  # 128 + SIGINT, as a shell shows
COMPLETION = "_LETTERLOCK_COMPLETE"  # set by the scripts in packaging/completions when a shell completes a command line


class ListedVerb(NamedTuple):
    """Where a verb is, and what it does in at most SUMMARY_CHARACTERS: `--help` imports none of them."""

    module: str
    summary: str


SUMMARY_CHARACTERS = 64  # beside the longest name, within the 80 columns of a terminal
SECTIONS: Mapping[str, Mapping[str, ListedVerb]] = {
    "Set up and run a server": {
        "setup": ListedVerb("letterlock.cli.setup.command", "Make this machine the mail server of a domain."),
        "serve": ListedVerb("letterlock.cli.serve", "Run the server."),
        "reload": ListedVerb("letterlock.cli.reload", "Have the running server read its configuration again."),
        "config": ListedVerb("letterlock.cli.config", "Check, show and translate configurations."),
        "users": ListedVerb("letterlock.cli.users", "Manage the users who may log in to submit mail."),
        "aliases": ListedVerb("letterlock.cli.aliases", "Check the files of aliases and mailboxes."),
        "companion": ListedVerb("letterlock.cli.companion", "Protect the mail that a Postfix on this machine sends."),
    },
    "See what it does": {
        "status": ListedVerb("letterlock.cli.status", "Show how the server is, on one screen."),
        "top": ListedVerb("letterlock.cli.top", "Show flow, deliveries and queue live."),
        "queue": ListedVerb("letterlock.cli.queue.command", "Inspect and manage the queue."),
        "log": ListedVerb("letterlock.cli.log.command", "Trace a message through the logs."),
        "stats": ListedVerb("letterlock.cli.stats.command", "Show how mail was protected."),
        "memory": ListedVerb("letterlock.cli.memory_verbs", "Show what is remembered of other domains; forget it."),
        "route": ListedVerb("letterlock.cli.show_route", "Show where mail for an address goes, and why."),
        "policy": ListedVerb("letterlock.cli.policy_verbs", "Show what the policy door answers Postfix."),
    },
    "Check domains, servers and messages": {
        "check": ListedVerb("letterlock.cli.check.command", "Show what protects mail to a domain."),
        "probe": ListedVerb("letterlock.cli.probe.command", "Connect to a server as a delivery would."),
        "resolve": ListedVerb("letterlock.cli.resolve", "Look a name up, and show how the answer was proven."),
        "explain": ListedVerb("letterlock.cli.explain", "Explain a reason code."),
        "check-mail": ListedVerb("letterlock.cli.check_mail.command", "Show who signed a message, and what holds."),
        "lab": ListedVerb("letterlock.cli.lab", "Attack your own mail on a simulated internet."),
    },
    "Look after your own domains": {
        "dkim": ListedVerb("letterlock.cli.dkim", "Make and rotate the keys that sign mail."),
        "sts": ListedVerb("letterlock.cli.sts_verbs", "Host MTA-STS policies."),
        "reports": ListedVerb("letterlock.cli.report_verbs", "Read the TLS and DMARC reports that others send."),
    },
}
VERBS: Mapping[str, ListedVerb] = {name: verb for section in SECTIONS.values() for name, verb in section.items()}


class LazyGroup(click.Group):
    """A group that imports a verb only when it is used, so that every verb starts quickly."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """The verbs, in the order in which a newcomer meets them."""
        return list(VERBS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        """The click command of a verb."""
        if name not in VERBS:
            return None
        command: click.Command = getattr(importlib.import_module(VERBS[name].module), name.replace("-", "_"))
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs of `--help`, by what they are for."""
        width = max(map(len, VERBS))
        for title, verbs in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), verb.summary) for name, verb in verbs.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The verbs and options that begin so."""
        verbs = [CompletionItem(name, help=verb.summary) for name, verb in VERBS.items() if name.startswith(incomplete)]
        return verbs + click.Command.shell_complete(self, ctx, incomplete)

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
