"""The reconciler with any objects: whatever comes of steps comes of the last one alone."""

from hypothesis import given
from hypothesis import strategies as st

from support.reconciling import Bench, Thing, address_of, thing

NAMES = st.sampled_from("abcd")
THINGS = st.builds(
    lambda name, names, value, group: thing(name, *names, value=value, group=group),
    NAMES,
    st.lists(st.sampled_from("uvwxyz"), min_size=1, max_size=4, unique=True),
    st.sampled_from(["1", "2", "odd", "long" * 30, "gnol" * 30]),
    st.sampled_from(["g", "h", "i"]),
)
STATES = st.lists(
    st.lists(THINGS, max_size=4, unique_by=lambda each: each.meta.name), min_size=1, max_size=6
)


@given(STATES)
def test_step_by_step_gives_the_same_maps_and_problems_as_at_once(
    states: list[list[Thing]],
) -> None:
    steps, once = Bench(), Bench()

    for state in states:
        outcome = steps.put(*state)
    expected = once.put(*states[-1])

    assert steps.used.entries == once.used.entries
    assert steps.user.entries == once.user.entries
    assert sorted(map(str, outcome.problems)) == sorted(map(str, expected.problems))


@given(STATES)
def test_every_entry_that_changed_is_bumped(states: list[list[Thing]]) -> None:
    bench = Bench()
    bench.put()

    for state in states:
        before = dict(bench.entries)
        bench.put(*state)
        names = {
            name
            for name in before.keys() | bench.entries.keys()
            if before.get(name) != bench.entries.get(name)
        }
        assert {address_of(name) for name in names} <= frozenset().union(*bench.bumps)


@given(STATES, st.integers(min_value=1, max_value=4), st.booleans())
def test_in_a_full_map_each_is_served_as_it_is_or_as_it_was(
    states: list[list[Thing]], capacity: int, restarts: bool
) -> None:
    bench = Bench(capacity)
    for state in states:
        before = bench.entries
        outcome = bench.put(*state)
        if restarts:
            bench.start()

        assert len(bench.used.entries) <= capacity
        assert outcome.wanted["used"] >= outcome.entries["used"] == len(bench.used.entries)
        assert bench.user.entries.keys() == bench.used.entries.keys()
        refused = {scope for _, scope in outcome.refused}
        wanted = {name for each in state for name in each.names}
        fitting = {name for each in state for name in each.names if each.group not in refused}
        assert fitting <= bench.entries.keys() <= wanted | before.keys()


@given(STATES, st.integers(min_value=1, max_value=4))
def test_once_there_is_room_nothing_is_left_out(states: list[list[Thing]], capacity: int) -> None:
    bench, once = Bench(capacity), Bench()
    for state in states:
        bench.put(*state)

    bench.used.capacity = 1000
    outcome = bench.put(*states[-1])
    expected = once.put(*states[-1])

    assert bench.used.entries == once.used.entries
    assert bench.user.entries == once.user.entries
    assert len(outcome.problems) == len(expected.problems)
