"""`letterlock` with less patience: `python -m tests.soak.hurried serve ...`.

Waits seconds where RFC 5321 wants minutes, and holds its leases for seconds, so that what follows a time-out or the end
of a lease is seen often in a short run. Everything else is the server as it is.
"""

from letterlock.cli.main import main
from letterlock.deliver.options import DeliverOptions, Timeouts

REPLY_SECONDS = 1.5
LEASE_SECONDS = 8.0


def hurry() -> None:
    """Change the defaults, before anybody uses them."""
    steps = ("greeting", "hello", "mail", "recipient", "data", "message", "block")
    for options, changed in (
        (Timeouts, dict.fromkeys(steps, REPLY_SECONDS)),
        (DeliverOptions, {"lease_seconds": LEASE_SECONDS}),
    ):
        defaults = options.__init__.__kwdefaults__
        assert defaults is not None
        assert changed.keys() <= defaults.keys()
        defaults.update(changed)


if __name__ == "__main__":
    hurry()
    main()
