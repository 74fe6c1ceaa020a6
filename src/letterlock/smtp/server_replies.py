"""The replies of the server, with enhanced status codes (RFC 3463, RFC 2034; registry of RFC 5248)."""

from letterlock.mail.replies import Reply


def reply(code: int, *lines: str) -> Reply:
    """A reply; the enhanced status code, if any, opens each line."""
    return Reply(code, lines)


def offers(
    hostname: str,
    max_message_octets: int,
    max_recipients: int,
    *,
    starttls: bool,
    secure: bool,
    mechanisms: tuple[str, ...] = (),
) -> tuple[str, ...]:
    """The lines of the reply to EHLO."""
    words = [hostname, "PIPELINING", f"SIZE {max_message_octets}", "8BITMIME", "ENHANCEDSTATUSCODES", "DSN"]
    words += ["CHUNKING", "SMTPUTF8", f"LIMITS RCPTMAX={max_recipients}"]  # RFC 9422 section 4.2
    if starttls:
        words.append("STARTTLS")
    if mechanisms:
        words.append(f"AUTH {' '.join(mechanisms)}")
    if secure:
        words.append("REQUIRETLS")  # RFC 8689 section 2: inside TLS only
    return (*words, "HELP")


OK = reply(250, "2.0.0 Ok")
SENDER_OK = reply(250, "2.1.0 Ok")
RECIPIENT_OK = reply(250, "2.1.5 Ok")
BYE = reply(221, "2.0.0 Bye")
GO_AHEAD_TLS = reply(220, "2.0.0 Ready to start TLS")
SEND_CONTENT = reply(354, "Send the message; end it with <CRLF>.<CRLF>")
CANNOT_VERIFY = reply(252, "2.5.2 Cannot verify; send mail and see")
HELP = reply(214, "2.0.0 EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT STARTTLS (RFC 5321, 3030, 3207)")

UNKNOWN_COMMAND = reply(500, "5.5.2 Command not recognized")
NOT_IMPLEMENTED = reply(502, "5.5.1 Command not implemented")
BAD_BDAT = reply(501, "5.5.4 Syntax: BDAT octets [LAST]; the end of this chunk is unknown; closing")
HAS_NUL = reply(500, "5.5.2 NUL is not allowed in a command")
LINE_TOO_LONG = reply(500, "5.5.2 Line too long")
BARE_LINE_END = reply(500, "5.5.2 Bare CR or LF; only CRLF ends a line; closing")
NO_ARGUMENT = reply(501, "5.5.4 This command takes no argument")
BAD_HELLO = reply(501, "5.5.4 A domain name or an address literal is needed")
BAD_MAIL = reply(501, "5.5.4 Syntax: MAIL FROM:<address>")
BAD_RCPT = reply(501, "5.5.4 Syntax: RCPT TO:<address>")
BAD_PARAMETER = reply(501, "5.5.4 Malformed or repeated parameter")
NO_BINARYMIME = reply(504, "5.6.1 BINARYMIME is not offered here; send 8BITMIME, or encode the message")
UNKNOWN_PARAMETER = reply(555, "5.5.4 Parameter not supported")
REQUIRETLS_IN_CLEAR = reply(530, "5.7.10 REQUIRETLS needs TLS: STARTTLS first")  # RFC 8689 section 4.1
NEEDS_SMTPUTF8 = reply(553, "5.6.7 A non-ASCII address needs the parameter SMTPUTF8 in MAIL")  # RFC 6531 section 3.5
NOT_UTF8 = reply(501, "5.5.4 This is not UTF-8")

AUTHENTICATED = reply(235, "2.7.0 Authentication successful")
BAD_AUTH = reply(501, "5.5.4 Syntax: AUTH mechanism [initial-response]")
BAD_BASE64 = reply(501, "5.5.2 This is not base64")
AUTH_CANCELLED = reply(501, "5.7.0 Authentication cancelled")
AUTH_IN_CLEAR = reply(538, "5.7.11 Encryption required: STARTTLS first")  # RFC 4954 section 6
NO_SUCH_MECHANISM = reply(504, "5.5.4 This mechanism is not offered")
ALREADY_AUTHENTICATED = reply(503, "5.5.1 Already authenticated")  # RFC 4954 section 4

HELLO_FIRST = reply(503, "5.5.1 Send EHLO or HELO first")
MAIL_FIRST = reply(503, "5.5.1 Send MAIL first")
ALREADY_MAIL = reply(503, "5.5.1 A mail transaction is open already")
RCPT_FIRST = reply(554, "5.5.1 No valid recipients")
RCPT_FIRST_BDAT = reply(503, "5.5.1 No valid recipients")
NOT_BETWEEN_CHUNKS = reply(503, "5.5.1 Not allowed between two BDAT chunks")  # RFC 3030 section 2
ALREADY_TLS = reply(503, "5.5.1 TLS is active already")
NOT_DURING_MAIL = reply(503, "5.5.1 Not during a mail transaction")

TOO_MANY_RECIPIENTS = reply(452, "4.5.3 Too many recipients")
TOO_LARGE = reply(552, "5.3.4 Message too large")
HEADER_TOO_LARGE = reply(552, "5.3.4 The header of the message is too large")
BARE_IN_CONTENT = reply(554, "5.6.0 Bare CR or LF in the message; only CRLF ends a line")
NUL_IN_CONTENT = reply(554, "5.6.0 NUL in the message (RFC 2045 section 2.8); encode it")
TEXT_LINE_TOO_LONG = reply(554, "5.6.0 A line of the message is too long (RFC 5321 section 4.5.3.1.6)")
TOO_MANY_HOPS = reply(554, "5.4.6 Too many hops; the message is looping")

NOT_SYNCHRONIZED = reply(554, "5.5.0 Wait for the reply to this command (RFC 2920); closing")
INJECTED = reply(421, "4.7.0 Data arrived before the TLS handshake; closing")
TOO_MANY_ERRORS = reply(421, "4.7.0 Too many errors; closing")
TOO_MANY_IDLE_COMMANDS = reply(421, "4.7.0 Too many commands without a message; closing")
NOT_SMTP = reply(421, "4.7.0 This is SMTP; closing")
