"""Shared limits: connections and octets."""

from letterlock.receive.limits import TOO_MANY, TOO_MANY_FROM_YOU, Admission, MemoryBudget


def test_connections_are_counted_in_all_and_by_client() -> None:
    admission = Admission(max_connections=3, max_per_client=2)
    assert [admission.admit("192.0.2.1") for _ in range(3)] == [None, None, TOO_MANY_FROM_YOU]
    assert admission.admit("192.0.2.2") is None
    assert admission.admit("192.0.2.3") is TOO_MANY
    admission.leave("192.0.2.1")
    assert admission.admit("192.0.2.1") is None


def test_an_ipv6_client_is_its_64() -> None:
    admission = Admission(max_connections=10, max_per_client=1)
    assert admission.admit("2001:db8::1") is None
    assert admission.admit("2001:db8::ffff:2") is TOO_MANY_FROM_YOU
    assert admission.admit("2001:db8:0:1::1") is None
    admission.leave("2001:db8::9")
    assert admission.admit("2001:db8::3") is None


def test_the_budget_holds_what_was_granted() -> None:
    budget = MemoryBudget(100)
    assert budget.change(0, 60)
    assert budget.has_room(40)
    assert not budget.has_room(41)
    assert not budget.change(0, 41)
    assert budget.change(60, 100)
    assert budget.change(100, 0)
    assert budget.change(0, 100)
