"""Postfix' socketmap protocol (socketmap_table(5)), and the TLS policies that it carries (postconf(5)).

`netstrings` frames, `questions` reads requests and writes replies, `tls_policy` writes the right-hand side of
smtp_tls_policy_maps. What comes from outside is checked before it gets here: no text of a domain or a policy can add
an attribute of its own.
"""
