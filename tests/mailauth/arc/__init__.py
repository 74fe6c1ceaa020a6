"""Tests of letterlock.mailauth.arc."""
