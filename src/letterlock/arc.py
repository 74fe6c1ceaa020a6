"""ARC for programs: verify a chain and seal a message that goes on (RFC 8617). Part of the public promise.

    verdict = await verify(content, resolver, time.time())
    print(verdict.status, verdict)
    fields = seal(split(content), verdict, b"mx.example.org; arc=pass; spf=pass ...", key, time.time())
    content = fields + content

Without a resolver, in two steps: `examine(split(content))` names the TXT records that are needed, and its
`judge(answers, now)` gives the verdict. A chain says who vouches for what earlier hops found; it is worth as much as
the trust in each of them, and no result of DKIM or SPF changes because of it.
"""

from functools import partial

from letterlock.dkim import answers_for, judged_aside
from letterlock.mailauth.arc.seal import own_results, seal
from letterlock.mailauth.arc.sets import ArcSet, Seal, Status
from letterlock.mailauth.arc.verify import ChainExamination, ChainVerdict, examine
from letterlock.mailauth.message import Message, OversizedHeader, split, with_crlf
from letterlock.ports import Resolver

__all__ = [
    "ArcSet",
    "ChainExamination",
    "ChainVerdict",
    "Message",
    "OversizedHeader",
    "Seal",
    "Status",
    "examine",
    "own_results",
    "seal",
    "split",
    "verify",
    "with_crlf",
]


async def verify(content: bytes | Message, resolver: Resolver, now: float) -> ChainVerdict:
    """The verdict on the chain of a message (RFC 8617 section 5.2).

    `now` is in seconds since 1970. A lookup that fails is part of the verdict. Raises OversizedHeader.
    """
    examination = examine(content if isinstance(content, Message) else split(content))
    answers = await answers_for(resolver, examination.key_names)
    return await judged_aside(examination.message, partial(examination.judge, answers, now))
