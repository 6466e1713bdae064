"""Maglev's tables: even, alike on all nodes, and hardly different when a backend goes."""

from collections import Counter
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise

import pytest

from plait.plugins.lb.backends import Backend, Backends
from plait.plugins.lb.config import LbConfig
from plait.plugins.lb.maglev import _walk, chunks_of, table_of, table_size


def table(ready: Sequence[Backend], size: int, *weights: int) -> tuple[int, ...]:
    return table_of(Backends(ready=tuple(ready), weights=weights), size)


def backends(count: int) -> list[Backend]:
    return [Backend(IPv4Address("10.244.0.1") + number, 8080) for number in range(count)]


@pytest.mark.parametrize("count", [1, 2, 3, 10, 100, 1021])
def test_every_slot_has_a_backend_and_shares_differ_by_one_at_most(count: int) -> None:
    shares = Counter(table(backends(count), 1021))

    assert sum(shares.values()) == 1021
    assert shares.keys() == set(range(count))
    assert max(shares.values()) - min(shares.values()) <= 1


def test_with_more_backends_than_slots_each_slot_has_another_one() -> None:
    slots = table(backends(10), 7)

    assert sorted(slots) == [0, 1, 2, 3, 4, 5, 6]


def test_all_nodes_make_the_same_table() -> None:
    own = [Backend(IPv4Address("10.244.1.1"), 80), Backend(IPv6Address("fd00::1"), 80)]

    assert table(own, 13) == (0, 0, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0)


def test_the_table_is_that_of_the_paper() -> None:
    preferences = [list(_walk(each, 101).slots()) for each in backends(7)]

    slow = dict[int, int]()
    while len(slow) < 101:
        for index, slots in enumerate(preferences):
            free = [slot for slot in slots if slot not in slow]
            if free:
                slow[free[0]] = index

    assert table(backends(7), 101) == tuple(slow[slot] for slot in range(101))


def test_a_backend_prefers_slots_at_equal_strides() -> None:
    slots = list(_walk(backends(1)[0], 101).slots())

    strides = {(after - before) % 101 for before, after in pairwise(slots)}

    assert sorted(slots) == list(range(101))
    assert len(strides) == 1


def test_a_backend_knows_which_of_some_slots_comes_first() -> None:
    walk = _walk(backends(1)[0], 101)
    order = list(walk.slots())

    assert [walk.first_of(sorted(order[turn:])) for turn in range(100)] == [
        sorted(order[turn:]).index(order[turn]) for turn in range(100)
    ]


def test_a_port_makes_another_backend_of_an_address() -> None:
    other = [Backend(address, 9090) for address, _ in backends(3)]

    assert table(backends(3), 1021) != table(other, 1021)


@pytest.mark.parametrize("gone", [0, 42, 99])
def test_when_one_of_100_goes_hardly_any_flow_of_others_moves(gone: int) -> None:
    """With the table that the defaults give to so many."""
    size = table_size(100, LbConfig().table_size)
    before = backends(100)
    after = [*before[:gone], *before[gone + 1 :]]

    old = [before[index] for index in table(before, size)]
    new = [after[index] for index in table(after, size)]

    others = [(was, now) for was, now in zip(old, new, strict=True) if was != before[gone]]
    moved = sum(was != now for was, now in others)
    assert moved / len(others) <= 0.02


@pytest.mark.parametrize(
    ("count", "size"), [(7, 991), (10, 991), (11, 1979), (40, 3967), (41, 10007), (5000, 10007)]
)
def test_a_backend_has_a_hundred_slots_if_the_largest_table_has_so_many(
    count: int, size: int
) -> None:
    assert table_size(count, 10007) == size


def test_no_table_is_larger_than_the_largest() -> None:
    assert table_size(7, 13) == 13


def test_weights_are_shares_of_slots() -> None:
    shares = Counter(table(backends(3), 1021, 1, 3, 6))

    assert [round(shares[index] / 1021, 2) for index in range(3)] == [0.1, 0.3, 0.6]


def test_a_table_is_cut_into_chunks_of_one_size() -> None:
    slots = tuple(range(1, 1980))

    first, second = chunks_of(slots)

    assert (*first, *second) == (*slots, *(0,) * 5)
    assert len(first) == len(second) == 992
