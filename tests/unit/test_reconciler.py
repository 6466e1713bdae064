"""The reconciler: what it writes, in which order, and what it tells."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pytest

from plait.core.api import Entry, Object, PlaitError
from plait.core.control.reconciler import Reconciler
from plait.core.objects.model import Key
from support.reconciling import HANDLER, Bench, Thing, address_of, thing, wanted


def test_wanted_entries_are_written() -> None:
    bench = Bench()

    outcome = bench.put(thing("a"), thing("b", value="2"))

    assert bench.entries == {"a": "1", "b": "2"}
    assert (outcome.updated, outcome.deleted, outcome.problems) == (4, 0, ())


def test_updates_come_in_the_order_of_use_and_removals_after_them_in_reverse() -> None:
    bench = Bench()
    bench.put(thing("a"))

    bench.put(thing("b"))

    assert bench.log == [
        ("update", "used", (b"b",)),
        ("update", "user", (b"b",)),
        ("delete", "user", (b"a",)),
        ("delete", "used", (b"a",)),
    ]


def test_what_did_not_change_is_not_written() -> None:
    bench = Bench()
    bench.put(thing("a"), thing("b"))

    outcome = bench.put(thing("a"), thing("b", value="2"))

    assert bench.log == [("update", "used", (b"b",)), ("update", "user", (b"b",))]
    assert (outcome.updated, outcome.deleted, outcome.problems) == (2, 0, ())


def test_only_scopes_that_changed_are_asked() -> None:
    asked: list[str] = []

    def ask(scope: str, objects: Sequence[Object]) -> Iterator[Entry | PlaitError]:
        asked.append(scope)
        return wanted(scope, objects)

    bench = Bench()
    bench.reconciler = Reconciler(
        (replace(HANDLER, wanted=ask),),
        {"used": bench.used, "user": bench.user},
        bump=bench.bumps.append,
        bump_all=bench._bump_all,
    )
    bench.put(thing("a"), thing("b"))
    asked.clear()

    bench.put(thing("a"), thing("b", value="2"))

    assert asked == ["b"]


def test_a_long_value_that_changes_is_written() -> None:
    bench = Bench()
    bench.put(thing("a", value="x" * 1000))

    bench.put(thing("a", value="x" * 999 + "y"))

    assert bench.entries == {"a": "x" * 999 + "y"}


def test_the_first_sync_makes_all_flows_decide_again() -> None:
    bench = Bench()

    bench.put(thing("a"))

    assert (bench.all_bumps, bench.bumps) == (1, [])


@pytest.mark.parametrize(
    ("after", "bumped"),
    [
        ((thing("a"), thing("b")), "b"),
        ((thing("a", value="2"),), "a"),
        ((), "a"),
        ((thing("a", "c", group="a"),), "ac"),
    ],
    ids=["added", "changed", "removed", "replaced"],
)
def test_the_addresses_of_what_changed_are_bumped(after: tuple[Thing, ...], bumped: str) -> None:
    bench = Bench()
    bench.put(thing("a"))

    bench.put(*after)

    assert bench.bumps == [frozenset(address_of(name) for name in bumped)]


def test_nothing_is_bumped_when_nothing_changed() -> None:
    bench = Bench()
    bench.put(thing("a"))

    bench.put(thing("a"))

    assert (bench.all_bumps, bench.bumps) == (1, [])


def test_bumps_come_after_the_writes() -> None:
    bench = Bench()
    seen: list[Mapping[str, str]] = []
    bench.reconciler = Reconciler(
        (HANDLER,),
        {"used": bench.used, "user": bench.user},
        bump=lambda _: seen.append(dict(bench.entries)),
        bump_all=lambda: None,
    )
    bench.put(thing("a"))

    bench.put(thing("b"))

    assert seen == [{"b": "1"}]


def test_a_start_adopts_what_the_maps_hold() -> None:
    bench = Bench()
    bench.put(thing("same"), thing("other"), thing("unknown"))
    bench.start()

    outcome = bench.put(thing("same"), thing("other", value="2"), thing("new"))

    assert bench.entries == {"same": "1", "other": "2", "new": "1"}
    assert (outcome.updated, outcome.deleted, outcome.problems) == (4, 2, ())


def test_a_start_leaves_the_unknown_alone_while_objects_are_missing() -> None:
    bench = Bench()
    bench.put(thing("a"), thing("b"))
    bench.start()

    bench.put(thing("a"), complete=False)
    before = dict(bench.entries)
    bench.put(thing("a"), complete=True)

    assert before == {"a": "1", "b": "1"}
    assert bench.entries == {"a": "1"}


def test_what_goes_late_makes_all_flows_decide_again() -> None:
    bench = Bench()
    bench.put(thing("a"), thing("b"))
    bench.start()
    bench.put(thing("a"), complete=False)
    before = bench.all_bumps

    bench.put(thing("a"), complete=True)
    bench.put(thing("a"), complete=True)

    assert bench.all_bumps == before + 1


def test_a_start_leaves_the_unknown_alone_while_an_object_is_refused() -> None:
    bench = Bench()
    bench.put(thing("a"), thing("b"))
    bench.start()

    bench.put(thing("a"), thing("b", value="refused"))
    before = dict(bench.entries)
    bench.put(thing("a"))

    assert before == {"a": "1", "b": "1"}
    assert bench.entries == {"a": "1"}


def test_a_refused_object_keeps_its_entries_and_is_told_until_it_is_right() -> None:
    bench = Bench()
    bench.put(thing("a"), thing("b"))

    refused = bench.put(thing("a", value="2"), thing("b", value="refused"))
    still = bench.put(thing("a", value="3"), thing("b", value="refused"))
    kept = dict(bench.entries)
    right = bench.put(thing("a", value="3"), thing("b", value="4"))

    expected = "things.yaml:98:1: Thing default/b makes no sense"
    assert [str(problem) for problem in refused.problems] == [expected]
    assert still.problems == refused.problems
    assert kept == {"a": "3", "b": "1"}
    assert right.problems == ()


def test_a_problem_beside_entries_is_told_and_they_are_written() -> None:
    bench = Bench()

    outcome = bench.put(thing("a", value="odd"))

    assert [problem.what for problem in outcome.problems] == ["Thing default/a is odd"]
    assert bench.entries == {"a": "odd"}


def test_a_handler_that_fails_is_named_and_others_proceed() -> None:
    bench = Bench()

    outcome = bench.put(thing("a", value="crash"), thing("b"))

    assert [problem.what for problem in outcome.problems] == [
        "handler things failed on a: RuntimeError: a mistake of the plugin"
    ]
    assert bench.entries == {"b": "1"}


def test_of_two_who_want_one_entry_the_first_by_name_has_it() -> None:
    bench = Bench()

    outcome = bench.put(thing("b", "x", value="2"), thing("a", "x", value="1"))

    assert bench.entries == {"x": "1"}
    assert [str(problem) for problem in outcome.problems] == [
        "things.yaml:98:1: Thing default/b wants used[name x] and 1 more, which Thing default/a"
        " has; the one at things.yaml:97:1 is used"
    ]


def test_two_who_want_one_entry_alike_are_no_problem() -> None:
    bench = Bench()

    outcome = bench.put(thing("a", "x"), thing("b", "x"))
    bench.put(thing("b", "x"))

    assert outcome.problems == ()
    assert bench.entries == {"x": "1"}


def test_the_first_by_name_wins_when_it_comes_later() -> None:
    bench = Bench()
    bench.put(thing("b", "x", value="2"))

    outcome = bench.put(thing("b", "x", value="2"), thing("a", "x", value="1"))

    assert bench.entries == {"x": "1"}
    assert len(outcome.problems) == 1


@pytest.mark.parametrize("value", ["2", "2" * 1000])
def test_the_loser_takes_over_when_the_winner_goes(value: str) -> None:
    bench = Bench()
    bench.put(thing("a", "x"), thing("b", "x", value=value))

    outcome = bench.put(thing("b", "x", value=value))

    assert bench.entries == {"x": value}
    assert outcome.problems == ()
    assert bench.bumps == [frozenset({address_of("x")})]


def test_an_object_may_move_to_another_scope() -> None:
    bench = Bench()
    bench.put(thing("a", "x", group="one"), thing("b", group="one"))

    bench.put(thing("a", "y", group="two"), thing("b", group="one"))

    assert bench.entries == {"y": "1", "b": "1"}


def test_what_an_entry_touches_is_known_whatever_order_it_was_given_in() -> None:
    bench = Bench()
    bench.put(thing("a", "u", "v", "w"))
    bench.put(thing("a", "w", "u", "v"))
    bench.bumps.clear()

    bench.put(thing("a", "u", "v"))

    assert bench.bumps == [frozenset({address_of("w")})]


def test_an_empty_key_set_changes_nothing() -> None:
    bench = Bench()
    bench.put(thing("a"))
    no_keys: frozenset[Key] = frozenset()

    outcome = bench.reconciler.sync(bench.store, no_keys)

    assert (outcome.updated, outcome.deleted, outcome.problems) == (0, 0, ())
