"""Tests of letterlock.identity."""
