"""The tests of letterlock.state."""
