"""Tables of recipients: files, SQLite databases, the users of the system; each a `RecipientTable`."""
