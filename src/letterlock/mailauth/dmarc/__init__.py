"""DMARC (RFC 9989) and its aggregate reports (RFC 9990), without sockets. `letterlock.dmarc` is the public door."""
