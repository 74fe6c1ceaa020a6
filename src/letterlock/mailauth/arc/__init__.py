"""ARC (RFC 8617): verify a chain in two pure steps, and seal. `letterlock.arc` is the public door."""
