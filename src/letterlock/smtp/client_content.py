"""Message content on its way out: line ends and dots (RFC 5321 sections 2.3.8 and 4.5.2)."""

from letterlock.frozen import frozen_dataclass
from letterlock.mail.checked_content import CheckedContent, DotlessContent
from letterlock.smtp.content import has_bare_line_ends


class BareLineEnd(ValueError):
    """The content has a CR or LF outside of CRLF: some servers would see another end of the message than others."""


@frozen_dataclass(frozen=True, slots=True)
class WireContent:
    """Content that was checked and dot-stuffed once, and is sent as often as needed. Make one with `wire_content`.

    `octets` go out after DATA, without the final dot; `content` after BDAT.
    """

    octets: bytes
    content: bytes


def wire_content(content: bytes) -> WireContent:
    """Make content ready to be sent; what its type says of it is not looked for again. Raises BareLineEnd."""
    if isinstance(content, DotlessContent):
        return WireContent(content, content)
    if not isinstance(content, CheckedContent) and has_bare_line_ends(content):
        raise BareLineEnd("the content has a bare CR or LF")
    return WireContent(stuff_dots(content), content)


def stuff_dots(content: bytes) -> bytes:
    """Double the dot that begins a line, and end the last line (RFC 5321 section 4.5.2)."""
    stuffed = content.replace(b"\r\n.", b"\r\n..")
    if stuffed.startswith(b"."):
        stuffed = b"." + stuffed
    return stuffed if not stuffed or stuffed.endswith(b"\r\n") else stuffed + b"\r\n"
