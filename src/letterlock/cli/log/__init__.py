"""`letterlock log`: read what the server logged."""
