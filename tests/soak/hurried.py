"""`letterlock` with less patience: `python -m tests.soak.hurried serve ...`.

Waits seconds where RFC 5321 wants minutes, and holds its leases for seconds, so that what follows a time-out or the end
of a lease is seen often in a short run. And a few kilobytes are a large message, which goes to the disk in pieces while
it arrives. Everything else is the server as it is.
"""

from importlib import import_module

from letterlock.mail import checked_content

REPLY_SECONDS = 1.5
LEASE_SECONDS = 8.0
PIECE_OCTETS = 1000
SPOOLED_OCTETS = 3000  # the soak's messages have 34 to 6,800
READ_OCTETS = 900  # else they would arrive whole


def shrink() -> None:
    """Change the sizes, before anybody reads them."""
    checked_content.PIECE_OCTETS, checked_content.SPOOLED_OCTETS = PIECE_OCTETS, SPOOLED_OCTETS
    session = import_module("letterlock.receive.session")
    session.__dict__.update(READ_OCTETS=READ_OCTETS, CONTENT_OCTETS=READ_OCTETS)


def hurry() -> None:
    """Change the defaults, before anybody uses them."""
    options = import_module("letterlock.deliver.options")
    steps = ("greeting", "hello", "mail", "recipient", "data", "message", "block")
    for each, changed in (
        (options.Timeouts, dict.fromkeys(steps, REPLY_SECONDS)),
        (options.DeliverOptions, {"lease_seconds": LEASE_SECONDS}),
    ):
        defaults = each.__init__.__kwdefaults__
        assert defaults is not None
        assert changed.keys() <= defaults.keys()
        defaults.update(changed)


if __name__ == "__main__":
    shrink()
    hurry()
    import_module("letterlock.cli.main").main()
