"""Tests of letterlock.recipients."""
