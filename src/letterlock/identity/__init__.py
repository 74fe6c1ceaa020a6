"""Which certificates may speak for which names."""
