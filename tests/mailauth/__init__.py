"""Tests of letterlock.mailauth."""
