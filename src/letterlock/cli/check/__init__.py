"""`letterlock check`."""
