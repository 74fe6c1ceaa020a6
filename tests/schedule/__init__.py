"""The tests of letterlock.schedule."""
