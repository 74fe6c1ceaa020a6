"""`letterlock probe`."""
