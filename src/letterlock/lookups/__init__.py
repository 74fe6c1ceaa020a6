"""Rows and values that databases and other programs have for a key; `accounts` and `tables` ask here."""
