"""DKIM for programs: verify a message, sign one, make keys (RFC 6376, 8301, 8463, 8616). Part of the public promise.

    verdicts = await verify(content, resolver, time.time())
    for verdict in verdicts:
        print(verdict.result, verdict)

    signer = Signer([read_signing_key(pem, "example.org", "s2026")])
    content = signer.sign(split(content), time.time()) + content

`resolver` is anything with the method of `letterlock.ports.Resolver`, such as `letterlock.resolver.Resolver`. Without
one, in two steps and without any waiting: `examine(split(content))` names the TXT records that are needed, and its
`judge(answers, now)` gives the verdicts. Contents are bytes with CRLF line ends; `with_crlf` makes them of a file.

`verify` and `split` raise OversizedHeader for a header of more than 1 MiB or 10,000 fields, nothing else. Each verdict
has a result in the words of Authentication-Results (RFC 8601), a reason from `Reason` unless the signature holds
(`explain` gives its section and a sentence; so does `str(verdict)`), and the DNSSEC state of the key's answer.
"""

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

import dns.rdatatype
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from letterlock.mailauth.dkim.canonical import BodyHash, Form
from letterlock.mailauth.dkim.published import PublishedKey, published_key
from letterlock.mailauth.dkim.reasons import DkimExplanation as Explanation
from letterlock.mailauth.dkim.reasons import DkimReason as Reason
from letterlock.mailauth.dkim.reasons import DkimResult as Result
from letterlock.mailauth.dkim.reasons import explain
from letterlock.mailauth.dkim.sign import Signer, sign_with
from letterlock.mailauth.dkim.signature import Algorithm, Signature
from letterlock.mailauth.dkim.signing_key import MIN_RSA_BITS, InvalidKey, SigningKey, read_signing_key, zone_line
from letterlock.mailauth.dkim.verify import DkimVerdict as Verdict
from letterlock.mailauth.dkim.verify import Examination, examine
from letterlock.mailauth.message import Message, OversizedHeader, split, with_crlf
from letterlock.ports import Resolver
from letterlock.resolver.answer import Answer, LookupFailure

__all__ = [
    "Algorithm",
    "BodyHash",
    "Examination",
    "Explanation",
    "Form",
    "InvalidKey",
    "Message",
    "OversizedHeader",
    "PublishedKey",
    "Reason",
    "Result",
    "Signature",
    "Signer",
    "SigningKey",
    "Verdict",
    "answers_for",
    "examine",
    "explain",
    "generate_key",
    "judged_aside",
    "published_key",
    "read_signing_key",
    "sign_with",
    "signed",
    "split",
    "verify",
    "with_crlf",
    "zone_line",
]

_Verdict = TypeVar("_Verdict")

# Hashing so much takes about a millisecond. More is hashed in a thread, so that the event loop does not stand still.
_MAX_OCTETS_AT_ONCE = 1 << 18
# One by an RSA key of 8,192 bits takes 0.4 ms, during which other threads run, and may be tried with four records.
_MAX_SIGNATURES_AT_ONCE = 4
_MAX_LOOKUPS = 10  # at a time, for one message: a chain of 50 seals must not crowd out other messages' lookups


async def verify(content: bytes | Message, resolver: Resolver, now: float) -> tuple[Verdict, ...]:
    """The verdicts on the signatures of a message, from the top (RFC 6376 section 6.1).

    `now` is in seconds since 1970, for signatures that have expired. Keys are looked up side by side; a lookup that
    fails is a verdict, too. A large message is hashed in a thread. Raises OversizedHeader.
    """
    examination = examine(content if isinstance(content, Message) else split(content))
    answers = await answers_for(resolver, examination.key_names)
    return await judged_aside(examination.message, partial(examination.judge, answers, now))


async def judged_aside(message: Message, judge: Callable[[], _Verdict], *, signatures: int = 1) -> _Verdict:
    """What `judge` returns, from a thread of its own when the message is large or has many signatures."""
    small = message.rest is None and len(message.body) <= _MAX_OCTETS_AT_ONCE
    if small and signatures <= _MAX_SIGNATURES_AT_ONCE:
        return judge()
    return await asyncio.to_thread(judge)


async def signed(signer: Signer | None, content: bytes, now: float) -> bytes:
    """A message of our own with the signatures of its author's domain on top (RFC 6376 section 5).

    It is returned as it is where there is no key, or where its header is oversized: our own mail is not lost for want
    of a signature. `now` is in seconds since 1970. A large message is hashed in a thread. Never raises.
    """
    if signer is None:
        return content
    try:
        message = split(content)
    except OversizedHeader:  # it can still be sent; unsigned mail is judged by its receiver like any other
        return content
    return await judged_aside(message, lambda: signer.sign(message, now)) + content


async def answers_for(resolver: Resolver, names: Iterable[str]) -> dict[str, Answer | LookupFailure]:
    """The TXT records of these names, looked up side by side, _MAX_LOOKUPS at a time. Never raises for DNS."""
    slots = asyncio.Semaphore(_MAX_LOOKUPS)

    async def answer(name: str) -> Answer | LookupFailure:
        async with slots:
            return await resolver.resolve(name, dns.rdatatype.TXT)

    asked = tuple(names)
    return dict(zip(asked, await asyncio.gather(*map(answer, asked)), strict=True))


def generate_key(algorithm: Algorithm = Algorithm.ED25519_SHA256, *, rsa_bits: int = MIN_RSA_BITS) -> bytes:
    """A new private key in PEM (PKCS #8, unencrypted), from the system's randomness.

    `rsa_bits` is the size of an RSA key; verifiers must take 1,024 to 4,096 bits (RFC 8301 section 3.2). Raises
    ValueError for a size that the library cannot make.
    """
    key = (
        ed25519.Ed25519PrivateKey.generate()
        if algorithm is Algorithm.ED25519_SHA256
        else rsa.generate_private_key(public_exponent=65537, key_size=rsa_bits)
    )
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
