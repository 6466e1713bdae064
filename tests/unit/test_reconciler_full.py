"""The reconciler where maps are full: who is served, and who is told."""

from support.reconciling import Bench, thing


def test_a_full_map_is_told_with_the_key_that_sizes_it_and_the_rest_proceeds() -> None:
    bench = Bench(capacity=2)

    outcome = bench.put(thing("a"), thing("b"), thing("c"), thing("d"))

    assert bench.entries == {"a": "1", "b": "1"}
    assert bench.user.entries.keys() == {b"a", b"b"}
    (problem,) = outcome.problems
    assert problem.what == "map used is full: no room for Thing default/c and 1 more"
    assert problem.expected == "it may have 2 entries at most"
    assert problem.hint == "raise test.capacity.used"


def test_how_many_entries_are_wanted_is_told_whether_they_fit_or_not() -> None:
    bench = Bench(capacity=2)
    bench.put(thing("a"), thing("b"))
    bench.start()

    wanted = [
        bench.put(*state).wanted["used"]
        for state in (
            [thing("a"), thing("b")],  # adopted
            [thing("a"), thing("b"), thing("c", "c1", "c2")],
            [thing("a"), thing("b", "a"), thing("c", "a")],  # one entry, three who want it
            [thing("b", "a")],
            [],
        )
    ]

    assert wanted == [2, 4, 1, 1, 0]


def test_what_nobody_wants_counts_while_it_is_there() -> None:
    bench = Bench()
    bench.put(thing("a"), thing("b"))
    bench.start()

    missing = bench.put(thing("a"), complete=False)
    complete = bench.put(thing("a"), thing("c"))

    assert (missing.wanted["used"], complete.wanted["used"]) == (2, 2)


def test_what_does_not_fit_is_not_referred_to() -> None:
    bench = Bench(capacity=2)

    bench.put(thing("a"), thing("b", "b1", "b2"))

    assert bench.user.entries.keys() == {b"a"}


def test_what_does_not_fit_takes_no_room() -> None:
    bench = Bench(capacity=3)

    bench.put(thing("a"), thing("b", "b1", "b2", "b3"), thing("c"))

    assert bench.entries == {"a": "1", "c": "1"}


def test_an_object_that_grew_beyond_what_fits_is_served_as_it_was() -> None:
    bench = Bench(capacity=3)
    bench.put(thing("a"), thing("b", "b1", "b2"))

    outcome = bench.put(thing("a"), thing("b", "b2", "b3", "b4", value="2"))

    assert bench.entries == {"a": "1", "b1": "1", "b2": "1"}
    assert bench.user.entries == bench.used.entries
    assert (bench.log, bench.bumps) == ([], [])
    assert [each.what for each in outcome.problems] == [
        "map used is full: no room for Thing default/b"
    ]


def test_an_object_in_a_full_map_changes_while_others_are_refused() -> None:
    bench = Bench(capacity=2)
    bench.put(thing("b", "b1", "b2"), thing("c"))

    outcome = bench.put(thing("b", "b2", "b3", value="2"), thing("c"))

    assert bench.entries == {"b2": "2", "b3": "2"}
    assert bench.user.entries == bench.used.entries
    assert [each.what for each in outcome.problems] == [
        "map used is full: no room for Thing default/c"
    ]


def test_room_that_is_made_is_used_at_once_whatever_the_names() -> None:
    bench = Bench(capacity=3)
    bench.put(thing("x", "x1"), thing("y", "y1", "y2"))

    outcome = bench.put(thing("x", "x1", "x2"), thing("y", "y1"))

    assert bench.entries == {"x1": "1", "x2": "1", "y1": "1"}
    assert outcome.problems == ()


def test_who_is_served_comes_before_who_is_new() -> None:
    bench = Bench(capacity=3)
    bench.put(thing("y", "y1", "y2"))

    outcome = bench.put(thing("a"), thing("y", "y1", "y2", "y3"))

    assert bench.entries == {"y1": "1", "y2": "1", "y3": "1"}
    assert outcome.refused == {("things", "a")}


def test_room_that_was_made_while_no_agent_ran_is_used_at_once() -> None:
    bench = Bench(capacity=2)
    bench.put(thing("a"), thing("b"))
    bench.start()

    outcome = bench.put(thing("a"), thing("c"))

    assert bench.entries == {"a": "1", "c": "1"}
    assert outcome.problems == ()


def test_a_start_takes_no_room_from_those_that_are_served() -> None:
    bench = Bench(capacity=2)
    bench.put(thing("x"), thing("y"))
    bench.start()

    bench.put(thing("a"), thing("x"), thing("y"))

    assert bench.entries == {"x": "1", "y": "1"}


def test_an_object_that_grew_beyond_what_fits_is_served_as_it_was_after_a_start() -> None:
    bench = Bench(capacity=3)
    bench.put(thing("a"), thing("b", "b1", "b2"))
    bench.start()
    grown = thing("b", "b2", "b3", "b4", value="2")

    bench.put(thing("a"), grown)
    before = bench.entries
    bench.put(grown)

    assert before == {"a": "1", "b1": "1", "b2": "1"}
    assert bench.entries == {"b2": "2", "b3": "2", "b4": "2"}


def test_who_was_refused_makes_way_for_others_in_new_maps() -> None:
    bench = Bench(capacity=2)
    things = (thing("a"), thing("x"), thing("y"))
    bench.put(*things[1:])
    refused = bench.put(*things).refused
    bench.used.entries.clear()
    bench.user.entries.clear()

    bench.start(refused)
    bench.put(*things)

    assert refused == {("things", "a")}
    assert bench.entries == {"x": "1", "y": "1"}


def test_what_did_not_fit_is_written_when_there_is_room() -> None:
    bench = Bench(capacity=2)
    bench.put(thing("a"), thing("b", "b1", "b2"))

    outcome = bench.put(thing("b", "b1", "b2"))

    assert bench.entries == {"b1": "1", "b2": "1"}
    assert outcome.problems == ()


def test_a_full_map_may_still_change() -> None:
    bench = Bench(capacity=2)
    bench.put(thing("a", "a1", "a2"))

    outcome = bench.put(thing("a", "a2", "a3"))

    assert bench.entries == {"a2": "1", "a3": "1"}
    assert outcome.problems == ()
