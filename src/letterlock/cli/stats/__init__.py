"""`letterlock stats`."""
