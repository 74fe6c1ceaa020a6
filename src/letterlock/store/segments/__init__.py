"""The fast lane: what is delivered at once is kept in segments (docs/decisions/0008)."""
