"""The tests of letterlock.sqlite."""
