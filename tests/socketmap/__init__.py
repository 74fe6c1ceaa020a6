"""Tests of letterlock.socketmap."""
