"""Mail authentication as pure formats and decisions: DKIM, ARC, SPF, DMARC, Authentication-Results.

`message` splits a message byte for byte; every other module reads that. Nothing here touches a socket: a first step
says which DNS records are needed, a second one judges with the resolver's answers.
"""
