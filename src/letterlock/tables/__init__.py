"""Tables of recipients: files, databases, other programs, the users of the system; each a `RecipientTable`."""
