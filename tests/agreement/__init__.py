"""Our validator against Unbound's and BIND's, on thousands of questions about generated zones, honest and forged."""
