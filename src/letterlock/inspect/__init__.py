"""A look from outside: what protects a domain's mail, what an attacker could do, and what to do next."""
