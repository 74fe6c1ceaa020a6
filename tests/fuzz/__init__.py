"""Fuzzers, each a program, with a short slice run as a test."""
