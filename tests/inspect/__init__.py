"""The tests of letterlock.inspect."""
