"""Our DKIM against dkimpy's, OpenDKIM's and rspamd's on generated messages.

`python -m tests.mailauth.agreement --cases 2000` ends with status 1 when a difference has no explanation.

Three ways: what we sign, they verify; what they sign, we verify; what was changed on the way, all judge alike.
"""
