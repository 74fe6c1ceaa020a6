"""The verb `check-mail`."""
