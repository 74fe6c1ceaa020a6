"""SMTP, both sides, as values: octets in, events out, octets to send (RFC 5321, RFC 1870, 2034, 2920, 3207, 6152).

How it works. `server.SmtpServer` and `client.SmtpClient` own no socket and read no clock. A driver feeds them what it
read, asks for events, and sends `take_output()`. What needs a decision (may this recipient be relayed to? is the
message on disk?) is an event that the driver answers; until then the session stands still. Misuse by the driver is one
exception, LocalProtocolError. What the peer does wrong is answered by the server with replies, as many as a limit
allows, and reported by the client with RemoteProtocolError. Any other exception is a bug.

Ends of lines. Only CRLF ends a line and only CRLF.CRLF ends a message. Where two programs disagree about that, a second
message can be smuggled inside the first; so a CR or LF by itself is not repaired but refused, in commands and in
content from any sender.

STARTTLS. Octets that arrive with the STARTTLS command or its reply, before the handshake, end the session
(CVE-2011-0411). After the handshake nothing is remembered of what was said before it (RFC 3207 section 4.2).

Every limit is a value: the length of a command, of a text line, of a message, of a reply; recipients; mistakes.
"""
