"""The store: what became different, and which of two objects with one name counts."""

from ipaddress import IPv4Address
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from plait.core.errors import Position
from plait.core.objects.model import Meta
from plait.core.objects.services import Service
from plait.core.objects.store import Changes, Store

KEY = ("Service", "default", "web")


def service(
    ip: str = "10.96.0.1", name: str = "web", line: int = 1, file: str = "a.yaml"
) -> Service:
    return Service(
        meta=Meta(name=name),
        at=Position(file=Path(file), line=line),
        cluster_ips=(IPv4Address(ip),),
    )


def test_a_new_object_is_added() -> None:
    store = Store()

    changes = store.replace("files", [service()])

    assert changes == Changes(added=frozenset({KEY}))
    assert dict(store) == {KEY: service()}


def test_an_object_that_says_the_same_is_no_change_but_has_its_new_place() -> None:
    store = Store()
    store.replace("files", [service(line=1)])

    changes = store.replace("files", [service(line=7)])

    assert not changes
    assert store[KEY].at == Position(file=Path("a.yaml"), line=7)


def test_an_object_that_says_something_else_is_changed() -> None:
    store = Store()
    store.replace("files", [service("10.96.0.1")])

    changes = store.replace("files", [service("10.96.0.2")])

    assert changes == Changes(changed=frozenset({KEY}))


def test_an_object_that_is_gone_is_removed() -> None:
    store = Store()
    store.replace("files", [service()])

    changes = store.replace("files", [])

    assert changes == Changes(removed=frozenset({KEY}))
    assert len(store) == 0


def test_a_source_replaces_only_what_it_has() -> None:
    store = Store()
    store.replace("files", [service()])

    store.replace("kubernetes", [service(name="db")])

    assert set(store) == {KEY, ("Service", "default", "db")}


def test_of_two_with_one_name_the_first_source_counts_in_any_order_of_arrival() -> None:
    store = Store()
    store.replace("kubernetes", [service("10.96.0.2", file="b.yaml")])

    changes = store.replace("files", [service("10.96.0.1")])

    assert changes.changed == {KEY}
    assert store[KEY] == service("10.96.0.1")


def test_of_two_with_one_name_in_one_source_the_first_counts() -> None:
    store = Store()

    store.replace("files", [service("10.96.0.1", line=1), service("10.96.0.2", line=9)])

    assert store[KEY] == service("10.96.0.1")


def test_a_name_given_twice_is_a_problem_that_names_both_places() -> None:
    store = Store()
    store.replace("kubernetes", [service(file="k.yaml", line=3)])
    store.replace("files", [service(line=1), service(line=9)])

    problems = [str(problem) for problem in store.problems()]

    assert problems == [
        "a.yaml:9:1: Service default/web is defined twice; the one at a.yaml:1:1 is used",
        "k.yaml:3:1: Service default/web is defined twice; the one at a.yaml:1:1 is used",
    ]


def test_the_hidden_one_takes_over_when_the_first_goes() -> None:
    store = Store()
    store.replace("files", [service("10.96.0.1"), service("10.96.0.2", line=9)])

    changes = store.replace("files", [service("10.96.0.2", line=9)])

    assert changes == Changes(changed=frozenset({KEY}))
    assert store.problems() == ()


SERVICES = st.builds(
    service,
    ip=st.sampled_from(("10.96.0.1", "10.96.0.2")),
    name=st.sampled_from(("a", "b", "c", "d")),
    line=st.integers(1, 3),
)


@given(st.lists(SERVICES), st.data())
def test_after_any_edit_the_store_is_as_if_it_had_never_held_anything_else(
    before: list[Service], data: st.DataObject
) -> None:
    """Edited lists keep their other objects, the very same ones, as files that are not read do."""
    store, fresh = Store(), Store()
    store.replace("files", before)
    held = dict(store)
    start = data.draw(st.integers(0, len(before)))
    end = data.draw(st.integers(start, len(before)))
    now = [*before[:start], *data.draw(st.lists(SERVICES)), *before[end:]]

    changes = store.replace("files", now)
    fresh.replace("files", now)

    assert dict(store) == dict(fresh)
    assert [str(each) for each in store.problems()] == [str(each) for each in fresh.problems()]
    assert changes.added == store.keys() - held.keys()
    assert changes.removed == held.keys() - store.keys()
    assert changes.changed == {key for key in store if key in held and store[key] != held[key]}
