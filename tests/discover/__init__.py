"""Tests of letterlock.discover."""
