"""Logging in to a relay host, for routes with a login (RFC 4954): inside TLS that is authenticated, and only there."""

import base64
import binascii
import secrets

from letterlock.deliver.conversation import Conversation, SessionLost
from letterlock.net.tls import TlsStream
from letterlock.policy.decision import Cleared, Level
from letterlock.sasl.client_login import ClientMechanism, Credentials, LoginFailed, choose
from letterlock.smtp.client_events import LoginAnswered

NONCE_OCTETS = 24  # chosen: 192 bits of chance, so that none comes twice (RFC 5802 section 5.1)
MAX_CHALLENGES = 4  # SCRAM has two


async def log_in(conversation: Conversation, credentials: Credentials, cleared: Cleared) -> None:
    """Log in. Raises SessionLost: the message waits, because the operator can repair that and no sender can."""
    if cleared.achieved.level is not Level.AUTHENTICATED:
        raise SessionLost("4.7.0", "the login was not sent: the server was not authenticated")
    stream = conversation.stream
    binding = stream.exporter_binding() if isinstance(stream, TlsStream) else None
    nonce = secrets.token_urlsafe(NONCE_OCTETS).encode()
    try:
        mechanism = choose(conversation.client.capabilities.auth, credentials, nonce, binding)
        await _exchange(conversation, mechanism)
    except LoginFailed as error:
        raise SessionLost("4.7.0", f"cannot log in: {error}") from None


async def _exchange(conversation: Conversation, mechanism: ClientMechanism) -> None:
    initial = mechanism.initial()
    conversation.log_in(mechanism.name, None if initial is None else _encoded(initial))
    for _ in range(MAX_CHALLENGES):
        answered = await conversation.expect(LoginAnswered)
        reply = answered.reply
        if reply.code == 334:  # RFC 4954 section 6: a challenge
            conversation.answer_challenge(_encoded(mechanism.answer(_decoded(reply.lines[0]))))
            continue
        if not reply.positive:
            raise SessionLost("4.7.8", f"the server refused our login: {reply}", reply)
        if not mechanism.proven:
            raise LoginFailed("the server has not proved that it knows the password")
        return
    raise LoginFailed("the server keeps sending challenges")


def _encoded(response: bytes) -> bytes:
    """As it goes with AUTH: an empty one is a sign of its own (RFC 4954 section 4)."""
    return base64.b64encode(response)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise LoginFailed("the server's challenge is not base64") from None
