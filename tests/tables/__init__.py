"""Tests of letterlock.tables."""
