"""What tests of users share."""

from letterlock.accounts.remembered_logins import RememberedLogins

NOT_REMEMBERED = RememberedLogins(0.0, lambda: 0.0)
