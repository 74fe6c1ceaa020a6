"""Tests of letterlock.mailauth.dkim."""
