"""Bits in blocks: as many as were asked for, never the same block twice."""

import os

import pytest

from letterlock.app.chance import BLOCK_OCTETS, SecretBits


def test_every_octet_of_a_block_is_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = [bytes([number % 256] * BLOCK_OCTETS) for number in range(1, 4)]
    left = iter(blocks)
    monkeypatch.setattr(os, "urandom", lambda count: next(left)[:count])
    bits = SecretBits()
    first = [bits(64) for _ in range(BLOCK_OCTETS // 8)]
    assert first == [0x0101010101010101] * len(first)
    assert bits(64) == 0x0202020202020202


@pytest.mark.parametrize("count", [1, 7, 8, 40, 60, 64])
def test_numbers_stay_below_their_bound_and_reach_its_upper_half(count: int) -> None:
    bits = SecretBits()
    numbers = [bits(count) for _ in range(500)]
    assert max(numbers) < 1 << count
    assert max(numbers) >= 1 << count - 1


def test_no_two_makers_give_the_same_bits() -> None:
    one, other = SecretBits(), SecretBits()
    assert [one(60) for _ in range(5)] != [other(60) for _ in range(5)]
