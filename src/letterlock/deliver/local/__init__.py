"""Delivery that ends on this machine: LMTP servers, Maildirs, and commands."""
