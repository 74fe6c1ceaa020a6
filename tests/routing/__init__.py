"""The tests of letterlock.routing."""
