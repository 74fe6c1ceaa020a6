"""The tests of letterlock.app."""
