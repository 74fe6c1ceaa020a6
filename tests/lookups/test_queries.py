"""Parameters of queries, wherever SQL has colons and percent signs of its own."""

import pytest

from letterlock.lookups.queries import MAX_REASON, BadParameters, check_parameters, in_one_line, with_percent_names


@pytest.mark.parametrize(
    ("query", "for_the_driver"),
    [
        ("SELECT a FROM t WHERE k = :key", "SELECT a FROM t WHERE k = %(key)s"),
        ("SELECT :local||:domain", "SELECT %(local)s||%(domain)s"),
        ("SELECT a::text FROM t WHERE k = :key::citext", "SELECT a::text FROM t WHERE k = %(key)s::citext"),
        ("SELECT ':key', a FROM t WHERE k = :key", "SELECT ':key', a FROM t WHERE k = %(key)s"),
        ("SELECT 'it''s :key' || :key", "SELECT 'it''s :key' || %(key)s"),
        (r"SELECT E'\':key' || :key", r"SELECT E'\':key' || %(key)s"),
        ('SELECT "a:key" FROM t WHERE k = :key', 'SELECT "a:key" FROM t WHERE k = %(key)s'),
        ("SELECT $x$ :key $x$ || :key", "SELECT $x$ :key $x$ || %(key)s"),
        ("SELECT 1 -- :nobody\nWHERE :key", "SELECT 1 -- :nobody\nWHERE %(key)s"),
        ("SELECT /* :nobody */ :key", "SELECT /* :nobody */ %(key)s"),
        ("SELECT a FROM t WHERE k LIKE '%' || :key", "SELECT a FROM t WHERE k LIKE '%%' || %(key)s"),
        ("SELECT 5 % 2, :key", "SELECT 5 %% 2, %(key)s"),
        ("SELECT x[1:2], :key", "SELECT x[1:2], %(key)s"),
    ],
)
def test_parameters_are_found_where_sql_has_them(query: str, for_the_driver: str) -> None:
    assert with_percent_names(query) == for_the_driver
    check_parameters(query, ("key", "local", "domain"))


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("SELECT a FROM t WHERE k = :user", "uses :user, but its parameters are :key, :local, :domain"),
        ("SELECT a FROM t", "uses none of its parameters"),
        ("SELECT a FROM t WHERE k = ':key'", "uses none of its parameters"),
        ("SELECT a FROM t WHERE k = '%s'", "uses none of its parameters"),
    ],
)
def test_a_query_that_asks_for_nobody(query: str, why: str) -> None:
    with pytest.raises(BadParameters, match=why):
        check_parameters(query, ("key", "local", "domain"))


def test_a_databases_words_are_one_line() -> None:
    assert in_one_line("a\n  b\t") == "a b"
    assert len(in_one_line("x" * 1000)) == MAX_REASON + 3
