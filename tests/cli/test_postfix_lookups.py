"""Tables of Postfix that are databases or programs, one by one."""

import pytest

from letterlock.cli.importing.postfix_lookups import Untranslatable, database, socketmap


@pytest.mark.parametrize(
    ("query", "ours"),
    [
        ("SELECT a FROM t WHERE k = '%s'", "SELECT a FROM t WHERE k = :key"),
        ("SELECT a FROM t WHERE k = %s;", "SELECT a FROM t WHERE k = :key"),
        ("SELECT a FROM t WHERE u='%u' AND d='%d'", "SELECT a FROM t WHERE u=:local AND d=:domain"),
        ("SELECT a FROM t WHERE k = '%u@%d'", "SELECT a FROM t WHERE k = (:local || '@' || :domain)"),
        ("SELECT 'it''s' WHERE '%s' = 'x'", "SELECT 'it''s' WHERE :key = 'x'"),
    ],
)
def test_parameters(query: str, ours: str) -> None:
    parts = database("sqlite", f"dbpath = /a.db\nquery = {query}\n", mailboxes=False)
    assert parts.table == {"sqlite": "/a.db", "query": ours}


@pytest.mark.parametrize(
    ("hosts", "text"),
    [
        ("db.example.org other", "host=db.example.org dbname=d user=u"),
        ("inet:db.example.org:5433", "host=db.example.org dbname=d user=u port=5433"),
        ("unix:/run/postgresql", "host=/run/postgresql dbname=d user=u"),
    ],
)
def test_hosts(hosts: str, text: str) -> None:
    made = database("pgsql", f"hosts={hosts}\nuser=u\ndbname=d\nquery=SELECT '%s'\n", mailboxes=False)
    assert made.database == {"postgresql": text}


@pytest.mark.parametrize(
    "text",
    [
        "dbname = d\ntable = alias\nselect_field = goto\n",
        "dbname = d\nquery = SELECT '%1'\n",
        "dbname = d\nquery = SELECT '%s'\nresult_format = %s@x\n",
        "dbname = d\nquery = SELECT '%s'\ndomain = example.org\n",
        "dbname = a b\nquery = SELECT '%s'\n",
        "query = SELECT '%s'\n",
    ],
)
def test_what_has_no_counterpart(text: str) -> None:
    with pytest.raises(Untranslatable):
        database("pgsql", text, mailboxes=False)


def test_socketmaps() -> None:
    assert socketmap("unix:/run/x:name").table == {"socketmap": "unix:/run/x", "map": "name"}
    assert socketmap("inet:localhost:10003:name").table == {"socketmap": "127.0.0.1:10003", "map": "name"}
    for bad in ("inet:db.example.org:1:name", "unix:relative:name", "x"):
        with pytest.raises(Untranslatable):
            socketmap(bad)
