"""The sizes of maps: as declared, as grown, as remembered; and when they are nearly full."""

from dataclasses import replace

import pytest

from plait.core.api import MapSpec
from plait.core.plan.growth import MapSize, kept, outgrown, resized, sizes
from plait.core.plan.model import MapPlan, Plan
from plait.core.runtime.capacity import MapUse, nearly_full
from support.plans import cases

KEY = "lb.capacity.services"


@pytest.fixture(scope="module")
def any_plan() -> Plan:
    return next(cases()).plan


def plan_of(plan: Plan, max_entries: int, grows_to: int | None) -> Plan:
    """A plan with one map."""
    spec = MapSpec(
        name="lb_services",
        max_entries=max_entries,
        grows_to=grows_to,
        reconciled=True,
        config_key=KEY,
    )
    return replace(plan, maps=(MapPlan(plugin="lb", spec=spec),))


@pytest.mark.parametrize(
    ("wanted", "size"),
    [
        (10, None),  # it fits
        (11, 20),  # at least double
        (20, 30),  # half as much again
        (30, 40),  # the bound
        (1000, 40),
    ],
)
def test_the_next_size(any_plan: Plan, wanted: int, size: int | None) -> None:
    plan = plan_of(any_plan, 10, 40)

    assert outgrown(plan, {"lb_services": wanted}).get("lb_services") == size


@pytest.mark.parametrize("grows_to", [None, 10])
def test_a_map_that_may_not_grow_does_not(any_plan: Plan, grows_to: int | None) -> None:
    assert outgrown(plan_of(any_plan, 10, grows_to), {"lb_services": 11}) == {}


def test_a_map_at_its_bound_grows_no_more(any_plan: Plan) -> None:
    plan = resized(plan_of(any_plan, 10, 40), {"lb_services": 40})

    assert outgrown(plan, {"lb_services": 41}) == {}


@pytest.mark.parametrize(
    ("declared", "grows_to", "size"),
    [
        (10, 40, 30),  # as before
        (10, 20, 20),  # it may grow less now
        (10, 10, 10),
        (12, 48, 12),  # declared anew
        (100, 400, 100),
    ],
)
def test_a_grown_size_lasts_until_another_one_is_declared(
    any_plan: Plan, declared: int, grows_to: int, size: int
) -> None:
    before = sizes(resized(plan_of(any_plan, 10, 40), {"lb_services": 30}))

    (planned,) = kept(plan_of(any_plan, declared, grows_to), before).maps

    assert planned.entries == size


def test_a_map_that_has_not_grown_is_planned_as_ever(any_plan: Plan) -> None:
    plan = plan_of(any_plan, 10, 40)

    assert kept(plan, sizes(plan)) == plan


def use(entries: int, *, capacity: int = 10_000, bound: int = 10_000) -> MapUse:
    size = MapSize(declared=capacity, entries=capacity, bound=bound, key=KEY)
    return MapUse.of("lb_services", size, entries)


def test_a_map_that_is_nearly_full_as_it_is_told() -> None:
    assert use(8300).warning == f"map lb_services is 83 % full (8,300 of 10,000): raise {KEY}"
    assert use(8300, bound=40_000).warning == (
        f"map lb_services is 83 % full (8,300 of 10,000, and it may grow to 40,000): raise {KEY}"
    )


@pytest.mark.parametrize(
    ("entries", "first", "again"),
    [(7999, False, True), (8000, True, True), (7500, False, True), (7499, False, False)],
)
def test_a_warning_comes_at_eighty_percent_and_goes_below_seventy_five(
    entries: int, first: bool, again: bool
) -> None:
    uses = (use(entries),)

    assert bool(nearly_full(uses)) is first
    assert bool(nearly_full(uses, {"lb_services"})) is again
