"""Text from outside, made fit for a terminal, a log and a page.

A server's reply, a certificate, a DNS record or a header can hold characters that move the cursor, start a terminal's
command (C0, DEL and C1, ECMA-48), turn the writing direction (Unicode UAX 9) or are no characters at all (lone
surrogates). They are written as escapes, such as `\\x9b` and `\\u202e`, so that nothing is hidden and nothing acts.
"""


def printable(text: str) -> str:
    """The text on one line: every character that is not printable, line ends among them, becomes its escape."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else escape(each) for each in text)


def printable_lines(text: str) -> str:
    """The same, but line feeds stay."""
    return "\n".join(printable(line) for line in text.split("\n"))


def escape(character: str) -> str:
    """One character as Python writes it in a literal: `\\x1b`, `\\u202e`, `\\udc80`."""
    return character.encode("unicode_escape").decode("ascii")
