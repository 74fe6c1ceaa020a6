"""Turns what failed for good into mail to the sender, which is mail like any other.

Straight from the store and back to it: a notice is read, its notification composed (letterlock.dsn), and accepted in
the same transaction that marks the notice done. A kill in between leaves a notice that is read again.
"""
