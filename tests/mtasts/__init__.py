"""Tests of letterlock.mtasts."""
