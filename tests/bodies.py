"""Bodies of messages in tests."""

from letterlock.mail.checked_content import in_one_piece as octets_of

__all__ = ["octets_of"]
