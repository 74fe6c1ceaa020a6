"""Tests mirror src/letterlock/."""
