"""Tests of receiving mail."""
