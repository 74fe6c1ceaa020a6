"""Tests of letterlock.net."""
