"""Tests of letterlock.smtp."""
