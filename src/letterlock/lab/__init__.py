"""The lab: an internet in a box, and the people who attack it.

What it is for: to show on your own machine what each kind of protection is worth. It sends mail
through the real server and reports what happened to it and who could read it.

How it works: a box has a signed root and two signed top-level domains with a trust anchor of their own, signed and
unsigned domains, a receiving server for each, and at most one attack. All of it lives on addresses of 127.0.0.0/8 that
this box chose for itself, on unprivileged ports. Letterlock gets the box's resolver as upstream and the box's anchor;
everything else it must find out. Each message carries a fresh secret: a party that knows the secret has read the
message.

`scenarios` holds what theory says of each attack against each protection; `trial` runs it and compares. The standards:
DNSSEC (RFC 4033-4035, 5155), DANE for SMTP (RFC 7672), STARTTLS (RFC 3207).

What it refuses: to share mistakes with what it tests. Its zones, servers and attackers are written on raw octets,
dnspython and the standard library's ssl, and use nothing of `letterlock.smtp`, `letterlock.resolver` or
`letterlock.net`.
"""
