"""The words for senders. The log and the queue have everything for the operator; a notification goes to strangers.

It names nothing that is the operator's own: no file of the configuration, no line of it, no host that mail is routed
to, no resolver. And it gives one piece of advice, which fits what happened: to the sender, not to an operator.
"""

from letterlock.policy.codes import Code
from letterlock.policy.explanation import NOTHING
from letterlock.policy.reasons import Finding, explain
from letterlock.queue.tasks import Why

_FAIL = ("4.", "5.")
_LOOKUP = "the domain's name servers did not give a reliable answer"

SENTENCES: dict[str, str] = {
    Code.RFC7672_2_1_2_MX_LOOKUP_FAILED: f"the domain's mail servers could not be looked up: {_LOOKUP}",
    Code.RFC7672_2_1_2_ADDRESS_LOOKUP_FAILED: f"the mail server's addresses could not be looked up: {_LOOKUP}",
    Code.RFC7672_2_1_2_TLSA_LOOKUP_FAILED: f"the mail server's TLSA records could not be looked up: {_LOOKUP}",
    Code.RFC7672_6_INSECURE_MX: "mail to this domain is sent with DANE only, and its MX records are not signed",
    Code.RFC7672_6_NO_USABLE_TLSA: "mail to this domain is sent with DANE only, and there is no usable TLSA record",
    Code.RULE_VERIFY_NO_NAME: "a certificate is demanded, and an IP address has no name to verify it for",
    Code.RULE_ROUTE_NOWHERE: "this mail system could not pass it on",
    Code.RULE_TLS_VERSION: "the mail server's TLS version is older than this mail system demands",
    Code.RULE_FINGERPRINT_MISMATCH: "the mail server's certificate is not the one that this mail system expects",
    Code.RULE_VERIFY_UNTRUSTED: "the mail server's certificate is not one that this mail system trusts",
    Code.RULE_VERIFY_WRONG_NAME: "the mail server's certificate is for another name",
    Code.RFC5321_5_1_OWN_HOST: "mail for the domain would come back to this mail system",
}
"""For reasons whose own sentence may name something of the operator's. Where one is missing, the status is put into
words."""

_OPERATORS = ("source", "next_hop")  # facts that are places in the configuration, and hosts of routes

_WHAT_FAILED = {
    "1.1": "the mailbox does not exist",
    "1.2": "the domain does not exist",
    "2.2": "the mailbox is full",
    "3.1": "there is no space for the message",
    "3.4": "the message is too large",
    "4.1": "the mail server did not answer",
    "4.2": "the connection to the mail server was lost",
    "4.4": "no mail server could be found",
    "4.6": "mail for the domain loops",
    "1": "the address cannot be used",
    "2": "the mailbox does not accept the message",
    "3": "a mail system on the way has a problem",
    "4": "the mail server could not be reached",
    "5": "the mail servers did not understand each other",
    "6": "the message cannot be passed on in this form",
    "7": "the connection could not be made as secure as required",
}

_ASK = "Your postmaster can find out more: forward this notification."
_ADVICE = {
    "1": "Check the address for mistakes, or ask the recipient for the right one through another channel.",
    "2.2": "The recipient has to free space; send it again later.",
    "2.3": "Send a smaller message, or a link instead of an attachment.",
    "2": "Contact the recipient through another channel, or send it again later.",
    "3.4": "Send a smaller message, or a link instead of an attachment.",
    "3": "Send it again later; if it fails again, forward this notification to your postmaster.",
    "4": "Check the part of the address behind the @; if it is right, send it again later.",
    "6.7": "Ask the recipient for an address with ASCII characters only.",
    "6": "Send it in a simpler form, such as plain text.",
}
_REFUSED_BY_POLICY = "The other mail system rejects it by policy; its postmaster can explain why."


def why_told(whys: tuple[Why, ...]) -> tuple[Why, ...]:
    """The reasons that kept a message back, in words that everybody may read; without those that let it pass."""
    return tuple(Why(each.code, each.subject, each.section, _sentence(each)) for each in whys if _keeps_back(each))


def is_routed(whys: tuple[Why, ...]) -> bool:
    """Whether the operator chose the way, so that the hosts on it are the operator's affair."""
    return any(_finding(each) is Finding.ROUTED for each in whys)


def what_failed(status: str) -> str:
    """A status code (RFC 3463) in words."""
    return _by_status(_WHAT_FAILED, status, "it could not be delivered")


def advice(status: str, whys: tuple[Why, ...], *, by_remote: bool) -> str:
    """What the sender can do. `by_remote`: another server decided; else the reasons did, if there are any."""
    if not by_remote:
        for each in whys:
            if _finding(each) is Finding.SENDERS_DEMAND:  # REQUIRETLS is the sender's own demand
                return _as_sentence(explain(each.code).advice)
    if by_remote and status[2:3] == "7":
        return _REFUSED_BY_POLICY
    return _by_status(_ADVICE, status, _ASK)


def _as_sentence(text: str) -> str:
    return _ASK if text == NOTHING else f"{text[0].upper()}{text[1:]}."


def _by_status(table: dict[str, str], status: str, otherwise: str) -> str:
    detail = status.partition(".")[2]
    return table.get(detail) or table.get(detail.partition(".")[0]) or otherwise


def _keeps_back(why: Why) -> bool:
    try:
        return explain(why.code).status.startswith(_FAIL)
    except KeyError:  # a code that only another version of Letterlock knows
        return False


def _finding(why: Why) -> Finding | None:
    try:
        return explain(why.code).finding
    except KeyError:  # a code that only another version of Letterlock knows
        return None


def _sentence(why: Why) -> str:
    meant = explain(why.code)
    if why.code not in SENTENCES and any(f"{{{fact}}}" in meant.sentence for fact in _OPERATORS):
        return what_failed(meant.status)
    return SENTENCES.get(why.code, why.sentence)
