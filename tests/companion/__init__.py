"""Tests of letterlock.companion."""
