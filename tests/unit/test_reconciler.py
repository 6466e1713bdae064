"""The reconciler, on maps that are dicts: what it writes, in which order, and what it tells."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.core.api import Entry, Handler, Meta, Object, PlaitError, Position, Record
from plait.core.control.reconciler import Outcome, Reconciler
from plait.core.kernel.maps import MapFull
from plait.core.objects.model import Address, Key
from plait.core.objects.store import Store

Log = list[tuple[str, str, tuple[bytes, ...]]]


class DictMap:
    """A map target that is a dict, writes what it does into a log, and may be full."""

    def __init__(self, name: str, log: Log, capacity: int = 1_000_000) -> None:
        self.name = name
        self.log = log
        self.capacity = capacity
        self.entries: dict[bytes, bytes] = {}
        self.config_key = f"test.capacity.{name}"
        self.bound = capacity

    def encode_key(self, record: Record) -> bytes:
        return str(record["name"]).encode()

    def encode_value(self, record: Record) -> bytes:
        return str(record["value"]).encode()

    def update_many(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        self.log.append(("update", self.name, tuple(key for key, _ in pairs)))
        for key, value in pairs:
            if key not in self.entries and len(self.entries) >= self.capacity:
                raise MapFull(self.name)
            self.entries[key] = value

    def delete_many(self, keys: Sequence[bytes]) -> None:
        self.log.append(("delete", self.name, tuple(keys)))
        for key in keys:
            self.entries.pop(key, None)

    def items(self) -> Iterable[tuple[bytes, bytes]]:
        return list(self.entries.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing(Object):
    """Wants `value` under each of `names` in the map `used`, and in `user`, which refers to it."""

    api_version: ClassVar[str] = "example.org/v1"
    kind: ClassVar[str] = "Thing"

    names: tuple[str, ...]
    value: str = "1"
    group: str | None = "all"


def wanted(scope: str, objects: Sequence[Object]) -> Iterator[Entry | PlaitError]:
    for each in objects:
        assert isinstance(each, Thing)
        if each.value == "refused":
            raise PlaitError(f"{each} makes no sense", at=each.at)
        if each.value == "odd":
            yield PlaitError(f"{each} is odd", at=each.at)
        if each.value == "crash":
            raise RuntimeError("a mistake of the plugin")
        for name in each.names:
            touches = (address_of(name),)
            record: Record = {"name": name}
            yield Entry(map="used", key=record, value={"value": each.value}, touches=touches)
            yield Entry(map="user", key=record, value={"value": each.value}, touches=touches)


def address_of(name: str) -> Address:
    return IPv4Address(sum(name.encode()))


HANDLER = Handler(
    name="things",
    kinds=(Thing,),
    scopes=lambda each: (each.group,) if isinstance(each, Thing) and each.group else (),
    wanted=wanted,
)


def thing(name: str, *names: str, value: str = "1", group: str | None = None) -> Thing:
    at = Position(file=Path("things.yaml"), line=ord(name[0]))
    return Thing(
        meta=Meta(name=name), at=at, names=names or (name,), value=value, group=group or name
    )


class Bench:
    """A reconciler with two dict maps, of which `user` refers to `used`."""

    def __init__(self, capacity: int = 1_000_000) -> None:
        self.log: Log = []
        self.used = DictMap("used", self.log, capacity)
        self.user = DictMap("user", self.log)
        self.bumps: list[frozenset[Address]] = []
        self.all_bumps = 0
        self.store = Store()
        self.start()

    def start(self, last: Collection[tuple[str, str]] = ()) -> None:
        """As an agent does: with nothing in mind, and the maps as they are."""
        self.reconciler = Reconciler(
            (HANDLER,),
            {"used": self.used, "user": self.user},
            bump=self.bumps.append,
            bump_all=self._bump_all,
            last=last,
        )

    def _bump_all(self) -> None:
        self.all_bumps += 1

    def put(self, *things: Thing, complete: bool = True) -> Outcome:
        changes = self.store.replace("test", things)
        self.log.clear()
        self.bumps.clear()
        return self.reconciler.sync(self.store, changes.keys, complete=complete)

    @property
    def entries(self) -> Mapping[str, str]:
        return {key.decode(): value.decode() for key, value in self.used.entries.items()}


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


def test_an_object_may_move_to_another_scope() -> None:
    bench = Bench()
    bench.put(thing("a", "x", group="one"), thing("b", group="one"))

    bench.put(thing("a", "y", group="two"), thing("b", group="one"))

    assert bench.entries == {"y": "1", "b": "1"}


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
