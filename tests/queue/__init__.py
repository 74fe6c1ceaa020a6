"""The life of a message."""
