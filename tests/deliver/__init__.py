"""Tests of letterlock.deliver."""
