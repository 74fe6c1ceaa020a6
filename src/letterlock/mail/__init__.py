"""Words that every room uses: domain names, addresses, replies, the envelope (RFC 5321, RFC 3463).

Pure: no clock, no socket, no disk. A type lives with its producer; only what three rooms share is here.
"""
