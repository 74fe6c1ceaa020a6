"""DNS blocklists and allowlists (RFC 5782)."""

from dataclasses import dataclass, field

import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import pytest

from letterlock.mail.addresses import Mailbox
from letterlock.receive.check_dns_lists import CheckDnsLists, DnsList, reversed_name
from letterlock.receive.pipeline import Facts
from letterlock.resolver.answer import Absence, Answer, FailureKind, LookupFailure, Question, Security
from letterlock.smtp.server_events import RecipientOffered

CLIENT = "192.0.2.99"
OFFER = RecipientOffered(None, Mailbox("bob", "example.org"))


@dataclass
class Lists:
    """A resolver that knows some names; `failing` ones cannot be looked up."""

    answers: dict[str, list[str]]
    failing: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    async def resolve(self, name: str, rdtype: dns.rdatatype.RdataType) -> Answer | LookupFailure:
        self.asked.append(name)
        question = Question(dns.name.from_text(name), rdtype)
        if name in self.failing:
            return LookupFailure(question=question, kind=FailureKind.TIMEOUT, detail="no answer")
        records = tuple(dns.rdata.from_text(dns.rdataclass.IN, rdtype, text) for text in self.answers.get(name, ()))
        return Answer(
            question=question,
            canonical_name=question.name,
            security=Security.INSECURE,
            expires_at=0.0,
            ttl=0,
            records=records,
            absence=None if records else Absence.NXDOMAIN,
        )


def facts(client: str = CLIENT, *, may_relay: bool = False) -> Facts:
    return Facts(client=client, client_label=client, may_relay=may_relay)


async def reply(
    lists: tuple[DnsList, ...], resolver: Lists, about: Facts | None = None, offer: RecipientOffered = OFFER
) -> str:
    found = await CheckDnsLists(lists, resolver).recipient(about or facts(), offer)
    return "" if found is None else str(found)


BL, WL = DnsList(zone="bl.test"), DnsList(zone="wl.test", weight=-1.0)
NAME = "99.2.0.192.bl.test"


def test_rfc5782_2_1_and_2_4_addresses_are_asked_for_backwards() -> None:
    assert reversed_name(CLIENT) == "99.2.0.192"
    assert reversed_name("::ffff:192.0.2.99") == "99.2.0.192"
    assert reversed_name("2001:db8::1") == ".".join("1" + "0" * 23 + "8bd01002")


async def test_a_listed_client_is_refused_and_told_by_whom() -> None:
    assert (
        await reply((BL,), Lists({NAME: ["127.0.0.2"]})) == "554 5.7.1 Client address [192.0.2.99] is listed by bl.test"
    )
    assert await reply((BL,), Lists({})) == ""


async def test_only_answers_that_count_count() -> None:
    some = DnsList(zone="bl.test", answers=frozenset({"127.0.0.4"}))
    assert await reply((some,), Lists({NAME: ["127.0.0.2"]})) == ""
    assert (await reply((some,), Lists({NAME: ["127.0.0.2", "127.0.0.4"]}))).startswith("554")


@pytest.mark.parametrize("address", ["127.255.255.254", "127.255.255.255", "203.0.113.7"])
async def test_an_answer_that_is_no_listing_lists_nobody(address: str) -> None:
    """A list that refuses queries, and a domain that was given up and now answers everything."""
    assert await reply((BL,), Lists({NAME: [address]})) == ""


async def test_a_list_that_cannot_be_asked_counts_for_nobody(caplog: pytest.LogCaptureFixture) -> None:
    assert await reply((BL,), Lists({}, failing={NAME})) == ""
    assert "list bl.test: cannot look up 192.0.2.99" in caplog.text


async def test_weights_add_up_and_an_allowlist_counts_against() -> None:
    half = DnsList(zone="half.test", weight=0.5)
    other = DnsList(zone="other.test", weight=0.5)
    both = Lists({"99.2.0.192.half.test": ["127.0.0.2"], "99.2.0.192.other.test": ["127.0.0.2"]})
    assert await reply((half,), both) == ""
    assert "half.test, other.test" in await reply((half, other), both)
    allowed = Lists({NAME: ["127.0.0.2"], "99.2.0.192.wl.test": ["127.0.0.10"]})
    assert await reply((BL, WL), allowed) == ""


async def test_who_may_relay_and_the_postmaster_are_left_alone() -> None:
    listed = Lists({NAME: ["127.0.0.2"]})
    assert await reply((BL,), listed, facts(may_relay=True)) == ""
    assert await reply((BL,), listed, offer=RecipientOffered(None, OFFER.recipient, postmaster=True)) == ""
    assert listed.asked == []


async def test_a_session_is_looked_up_once() -> None:
    listed, about = Lists({NAME: ["127.0.0.2"]}), facts()
    step = CheckDnsLists((BL,), listed)
    for _ in range(3):
        assert await step.recipient(about, OFFER) is not None
    assert listed.asked == [NAME]


@pytest.mark.parametrize("refusal", [[], ["127.255.255.254"]])
async def test_nobody_is_refused_for_good_while_an_allowlist_cannot_be_asked(refusal: list[str]) -> None:
    """It may list the client: the answer is a 4yz, and the next session asks again."""
    allows = "99.2.0.192.wl.test"
    unasked = Lists({NAME: ["127.0.0.2"], allows: refusal}, failing=set() if refusal else {allows})
    assert (await reply((BL, WL), unasked)).startswith("450 4.7.1 Client address [192.0.2.99]")
    heavy = DnsList(zone="bl.test", weight=5.0)
    assert (await reply((heavy, WL), unasked)).startswith("554 5.7.1")  # whatever the allowlist says
