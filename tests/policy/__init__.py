"""Tests of letterlock.policy."""
