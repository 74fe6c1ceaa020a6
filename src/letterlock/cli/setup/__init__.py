"""`letterlock setup DOMAIN`: from an empty machine to a mail server."""
