"""DKIM (RFC 6376, 8301, 8463, 8616): verify in two pure steps, and sign. `letterlock.dkim` is the public door."""
