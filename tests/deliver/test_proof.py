"""No mail without the proof for the very session: not by mistake, and not by calling code that tries."""

import ast
import copy
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import letterlock
from letterlock.deliver.conversation import Conversation
from letterlock.deliver.session import Opened, open_session
from letterlock.deliver.transaction import transact
from letterlock.net.tls import ServerContext
from letterlock.policy.decision import Achieved, Cleared, Encryption, Level, Requirement, _Seal
from letterlock.policy.evidence import SessionEvidence, SessionId
from letterlock.policy.judge import judge
from tests.deliver.world import ADDRESS, ANN, BODY, OPTIONS, MemoryDialer, Server, make_ports, make_task

PACKAGE = Path(letterlock.__path__[0])
REPOSITORY = PACKAGE.parents[1]
CLEAR = Requirement(encryption=Encryption.NONE, authentication=None, sni=None, fallback=None, reasons=())
TLS = replace(CLEAR, encryption=Encryption.MANDATORY)


async def opened(dialer: MemoryDialer, requirement: Requirement) -> Opened:
    found = await open_session(ADDRESS, requirement, ports=make_ports(dialer), options=OPTIONS)
    assert isinstance(found, Opened)
    return found


async def send(session: Opened) -> None:
    await transact(session, make_task().envelope, [ANN], BODY, server="mx")


def begin(conversation: Conversation, cleared: Cleared) -> None:
    conversation.begin(
        cleared,
        None,
        [ANN],
        size=1,
        eight_bit=False,
        requiretls=False,
        wishes=make_task().envelope.wishes,
        smtputf8=False,
        early=None,
    )


async def test_the_proof_of_one_session_is_none_for_another(dialer: MemoryDialer, context: ServerContext) -> None:
    server = dialer.handlers[ADDRESS] = Server(context)
    proven, unproven = await opened(dialer, TLS), await opened(dialer, CLEAR)
    for forged in (replace(unproven, cleared=proven.cleared), replace(proven, conversation=unproven.conversation)):
        with pytest.raises(TypeError, match="very session"):
            await send(forged)
        with pytest.raises(TypeError, match="very session"):
            begin(forged.conversation, forged.cleared)
    assert not any("MAIL" in line for line in server.clear + server.secret)
    await send(proven)
    assert server.messages == [BODY]


async def test_a_later_session_with_the_same_server_needs_a_proof_of_its_own(
    dialer: MemoryDialer, context: ServerContext
) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    first, second = await opened(dialer, TLS), await opened(dialer, TLS)
    assert first.cleared == second.cleared, "they say the same"
    with pytest.raises(TypeError, match="very session"):
        begin(second.conversation, first.cleared)


async def test_nobody_but_the_judge_makes_a_proof(dialer: MemoryDialer) -> None:
    dialer.handlers[ADDRESS] = Server()
    session = await opened(dialer, CLEAR)
    achieved = Achieved(level=Level.AUTHENTICATED)
    for seal in (_Seal(), None, object(), True):
        with pytest.raises(TypeError, match="only the judge"):
            Cleared(
                requirement=CLEAR,
                achieved=achieved,
                reasons=(),
                session=SessionId(),
                seal=seal,  # type: ignore[arg-type] # that is what is tried
            )
    with pytest.raises((TypeError, ValueError), match="seal"):
        replace(session.cleared, session=SessionId())  # type: ignore[call-arg] # as above


async def test_what_looks_like_a_proof_is_none(dialer: MemoryDialer) -> None:
    server = dialer.handlers[ADDRESS] = Server()
    session = await opened(dialer, CLEAR)

    class Forged:
        session = SessionId()

    for fake in (Forged(), None, True, "cleared"):
        with pytest.raises(TypeError, match="very session"):
            begin(session.conversation, fake)  # type: ignore[arg-type] # that is what is tried
    assert not any("MAIL" in line for line in server.clear)


async def test_copies_and_objects_without_a_constructor_are_no_proof(dialer: MemoryDialer) -> None:
    server = dialer.handlers[ADDRESS] = Server()
    session = await opened(dialer, CLEAR)
    blank = object.__new__(Cleared)
    filled = object.__new__(Cleared)
    for name in ("requirement", "achieved", "reasons"):
        object.__setattr__(filled, name, getattr(session.cleared, name))
    object.__setattr__(filled, "session", SessionId())
    pickled = pickle.loads(pickle.dumps(session.cleared))  # noqa: S301  # our own object
    for forged in (blank, filled, pickled, copy.deepcopy(session.cleared)):
        with pytest.raises(TypeError, match="very session"):
            begin(session.conversation, forged)
    assert not any("MAIL" in line for line in server.clear)


async def test_a_judgement_on_evidence_of_ones_own_clears_no_session(dialer: MemoryDialer) -> None:
    dialer.handlers[ADDRESS] = Server()
    session = await opened(dialer, CLEAR)
    copied = replace(session.evidence, session=SessionId())
    verdict = judge(CLEAR, copied, 0.0)
    assert isinstance(verdict, Cleared)
    assert isinstance(copied, SessionEvidence)
    with pytest.raises(TypeError, match="very session"):
        begin(session.conversation, verdict)


def _trees() -> dict[str, ast.Module]:
    return {str(path.relative_to(PACKAGE)): ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")}


def _where(trees: dict[str, ast.Module], name: str) -> set[str]:
    """The modules that import or call a name."""
    found = set()
    for module, tree in trees.items():
        for node in ast.walk(tree):
            imported = isinstance(node, ast.ImportFrom) and name in {each.name for each in node.names}
            touched = isinstance(node, ast.Attribute) and node.attr == name
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
            if imported or touched or called:
                found.add(module)
    return found


def test_who_holds_the_seal_the_session_and_the_client() -> None:
    trees = _trees()
    assert _where(trees, "_SEAL") == {"policy/judge.py"}
    assert _where(trees, "SessionId") <= {"policy/decision.py", "policy/evidence.py"} | {
        "deliver/session.py",
        "deliver/conversation.py",
    }
    assert _where(trees, "SmtpClient") <= {"smtp/__init__.py", "deliver/session.py", "deliver/conversation.py"}


def test_nothing_of_ours_goes_round_the_constructor() -> None:
    """`object.__new__` and `object.__setattr__` could forge a proof with the session of another: no module that knows
    `Cleared` uses them, nor `pickle` or `copy`."""
    forging = {"__new__", "__setattr__", "_seal", "pickle", "copy", "deepcopy"}
    for module, tree in _trees().items():
        nodes = list(ast.walk(tree))
        names = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        names |= {each.name for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for each in node.names}
        assert "Cleared" not in names or not names & forging, module


REFUSED_BY_THE_TYPES = """\
from letterlock.deliver.conversation import Conversation
from letterlock.deliver.session import Opened
from letterlock.deliver.transaction import transact
from letterlock.mail.addresses import Mailbox
from letterlock.mail.envelope import Envelope
from letterlock.mail.wishes import NO_WISHES
from letterlock.policy.decision import Achieved, Cleared, Level, Requirement
from letterlock.policy.evidence import SessionId
from dataclasses import replace

async def forge(
    opened: Opened, conversation: Conversation, requirement: Requirement, envelope: Envelope, ann: Mailbox
) -> None:
    clear = Achieved(level=Level.CLEAR)
    conversation.client.begin(None, [ann], size=1)  # wrong
    await transact(conversation, envelope, [ann], b"", server="mx")  # wrong
    await transact(None, envelope, [ann], b"", server="mx")  # wrong
    conversation.begin(
        True,  # wrong
        None,
        [ann],
        size=1,
        eight_bit=False,
        requiretls=False,
        wishes=NO_WISHES,
        smtputf8=False,
        early=None,
    )
    Cleared(requirement=requirement, achieved=clear, reasons=(), session=SessionId())  # wrong
    Cleared(requirement=requirement, achieved=clear, reasons=(), session=SessionId(), seal=object())  # wrong
    replace(opened.cleared, session=SessionId())  # wrong
    opened.cleared.session = SessionId()  # wrong
    conversation.client = conversation.client  # wrong

class Forged(Cleared):  # wrong
    pass
"""


def test_mail_without_a_proof_does_not_type_check(tmp_path: Path) -> None:
    """Every line that is marked is refused by mypy, and no other: with the types alone there is no way round."""
    snippet = tmp_path / "forge.py"
    snippet.write_text(REFUSED_BY_THE_TYPES)
    command = [sys.executable, "-m", "mypy", "--config-file", str(REPOSITORY / "pyproject.toml")]
    done = subprocess.run([*command, str(snippet)], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if "forge.py:" in line and ": error:" in line]
    refused = {int(line.split("forge.py:")[1].split(":")[0]) for line in lines}
    marked = {number for number, line in enumerate(REFUSED_BY_THE_TYPES.splitlines(), 1) if line.endswith("# wrong")}
    assert refused == marked, done.stdout + done.stderr
