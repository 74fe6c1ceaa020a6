"""`letterlock queue`."""
