"""What observers are shown of a judged message, and what it adds to a DMARC report."""

from letterlock.discover.mail_authentication import authenticate
from letterlock.mailauth.dmarc.actions import Action, Disposition, Override
from letterlock.mailauth.mail_verdict import AuthenticatedMail
from letterlock.mailauth.message import split
from letterlock.mailauth.spf.request import mail_from_request
from letterlock.queue.observing import Observers, Watcher
from tests.mailauth.dkim.forging import KEY_NAME, MESSAGE, NOW, RECORD, forged
from tests.mailauth.dns_world import FakeResolver, World

CLIENT = "192.0.2.7"
ACCEPTED = Disposition(Action.ACCEPT)


async def judged(content: bytes, world: World, done: Disposition = ACCEPTED) -> AuthenticatedMail:
    requests = (mail_from_request(CLIENT, "ann@example.org", "out.example.org"),)
    verdict = await authenticate(split(content), requests, FakeResolver(world), NOW)
    return AuthenticatedMail(id="ID1", received_at=NOW, client=CLIENT, verdict=verdict, done=done)


def world() -> World:
    made = World().add(KEY_NAME, "TXT", RECORD).add("_dmarc.example.org", "TXT", "v=DMARC1; p=reject")
    return made.add("example.org", "TXT", "v=spf1 -all")


async def test_an_observation_says_what_was_done_and_not_what_the_domain_asked_for() -> None:
    mail = await judged(MESSAGE, world(), Disposition(Action.ACCEPT, Override.LOCAL_POLICY))
    observation = mail.observation
    assert observation is not None
    assert (observation.policy.domain, observation.policy.p) == ("example.org", "reject")
    row = observation.row
    assert (row.source_ip, row.disposition, row.dkim, row.spf) == (CLIENT, "none", "fail", "fail")
    assert [each.type for each in row.overrides] == ["local_policy"]
    assert [(each.domain, each.result) for each in row.senders] == [("example.org", "fail")]


async def test_an_authentic_message_is_counted_too() -> None:
    observation = (await judged(forged(), world())).observation
    assert observation is not None
    assert (observation.row.disposition, observation.row.dkim) == ("pass", "pass")


async def test_without_a_policy_there_is_nothing_to_report() -> None:
    assert (await judged(forged(), World())).observation is None


async def test_observers_are_shown_it_and_may_fail() -> None:
    shown: list[str] = []

    class Keeping(Watcher):
        def authenticated(self, mail: AuthenticatedMail) -> None:
            shown.append(mail.id)

    class Broken(Watcher):
        def authenticated(self, mail: AuthenticatedMail) -> None:
            raise KeyError(mail.id)

    observers = Observers((Broken(), Keeping()))
    observers.authenticated(await judged(MESSAGE, world()))
    assert (shown, observers.lost) == (["ID1"], 1)
