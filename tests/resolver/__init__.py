"""Tests of the validating resolver, over a small signed internet in memory."""
