"""Delivery that ends on this machine: LMTP servers and Maildirs."""
