"""The directories of a server: made before it gives up root, and checked once it has."""

import logging

from letterlock.app import privileges
from letterlock.app.binding import StartFailed
from letterlock.config import Options
from letterlock.deliver.local.command_run import why_not_runnable
from letterlock.deliver.local.maildir import why_unwritable
from letterlock.receive.drop_directory import DropDirectory, DropUnusable, close_drop_directory
from letterlock.receive.profiles import profile_of_local_users

log = logging.getLogger("letterlock.app.server")


def take_directory(options: Options) -> None:
    """Make the queue and drop directories and, started as root, become the service user. Raises StartFailed."""
    _make_drop(options)
    try:
        privileges.take_directory(options.queue_directory, options.user)
    except privileges.NotPermitted as error:
        raise StartFailed(str(error)) from None


def _make_drop(options: Options) -> None:
    drop = options.drop_directory
    try:
        if drop is not None and profile_of_local_users(options.profiles):
            privileges.make_for_user(drop, options.user)
    except privileges.NotPermitted as error:
        log.warning("the drop cannot be made: %s", error)


DROP_HINT = "hint: make the directory for the server's user, or set [queue] drop_directory"


MAILDIR_HINT = "hint: under systemd, `letterlock serve --print-drop-in` prints what the unit has to allow"


def warn_of_final_hops(options: Options) -> None:
    """Mail for these waits, for hours perhaps: better the operator knows at once."""
    for target in options.maildirs if options.queue_directory == options.state_directory else ():
        if why := why_unwritable(target):
            log.warning("mail for %s will wait: %s; %s", target, why, MAILDIR_HINT)
    for command in options.commands if options.queue_directory == options.state_directory else ():
        if why := why_not_runnable(command):
            log.warning("mail for %s will wait: %s", command, why)


def open_drop(options: Options) -> DropDirectory | None:
    """The drop directory, open to everybody; closed, where local users may not send. The server runs without it too."""
    if options.drop_directory is None or options.queue_directory != options.state_directory:  # the first worker's
        return None
    if not profile_of_local_users(options.profiles):
        close_drop_directory(options.drop_directory)
        return None
    try:
        return DropDirectory(options.drop_directory)
    except DropUnusable as error:
        log.warning("%s: mail that local programs send while the server is down is not kept; %s", error, DROP_HINT)
        return None
