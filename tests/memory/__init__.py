"""Tests of letterlock.memory."""
