"""Tables of recipients: files, SQLite databases, the system's users. Implements `recipients.directory.Table`."""
