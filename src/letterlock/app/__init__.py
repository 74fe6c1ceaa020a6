"""The only place that builds things: the server, its processes, and their log."""
