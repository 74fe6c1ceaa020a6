"""Letterlock beside another mail server: its evidence and decisions, served by that server's own protocols.

`postfix_key` reads what Postfix asks for, `postfix_policy` turns the decision about a destination into one TLS policy,
`answer_memory` keeps answers, and `policy_door` speaks socketmap. The decision is that of our own deliveries:
`discover` finds the evidence and `policy.require` says what must hold for each host. Where Postfix has no level that
demands as much, the answer is a stricter one, or a temporary failure; it is never a weaker one.
"""
