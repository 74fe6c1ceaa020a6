"""Our DKIM against dkimpy's and OpenDKIM's on generated messages: `python -m tests.mailauth.agreement --cases 2000`.

Three ways: what we sign, they verify; what they sign, we verify; what was changed on the way, all judge alike.
"""
