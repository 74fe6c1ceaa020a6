"""TLS reports."""
