"""Tests of letterlock.milter."""
