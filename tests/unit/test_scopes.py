"""Scopes: which objects a handler is asked about together, and when."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from plait.core.api import Handler, Meta, Object
from plait.core.control.scopes import Roster
from plait.core.objects.model import Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Member(Object):
    api_version: ClassVar[str] = "test/v1"
    kind: ClassVar[str] = "Member"

    groups: tuple[str, ...] = ()
    shared: bool = False


def roster() -> Roster:
    return Roster(
        Handler(
            name="members",
            kinds=(Member,),
            scopes=lambda each: each.groups if isinstance(each, Member) else (),
            shared=lambda each: isinstance(each, Member) and each.shared,
            wanted=lambda *_: (),
        )
    )


def objects(*members: Member) -> Mapping[Key, Object]:
    return {each.key: each for each in members}


def member(name: str, *groups: str, shared: bool = False) -> Member:
    return Member(meta=Meta(name=name), groups=groups, shared=shared)


def asked(ours: Roster, world: Mapping[Key, Object], *changed: Member) -> dict[str, list[str]]:
    """The names of the objects of each scope that is due after a change."""
    due = ours.update(world, [each.key for each in changed])
    return {
        scope.name: [each.meta.name for each in ours.objects(scope, world)] for scope in sorted(due)
    }


def test_an_object_may_belong_to_several_scopes() -> None:
    ours, a, b = roster(), member("a", "one", "two"), member("b", "two")

    due = asked(ours, objects(a, b), a, b)

    assert due == {"one": ["a"], "two": ["a", "b"]}


def test_an_object_that_leaves_a_scope_makes_it_due() -> None:
    ours, a, b = roster(), member("a", "one", "two"), member("b", "two")
    asked(ours, objects(a, b), a, b)

    moved = member("a", "one")

    assert asked(ours, objects(moved, b), moved) == {"one": ["a"], "two": ["b"]}


def test_a_shared_object_is_in_all_scopes_and_makes_all_of_them_due() -> None:
    ours, a, b = roster(), member("a", "one"), member("b", "two")
    zone = member("zone", shared=True)
    asked(ours, objects(a, b), a, b)

    come = asked(ours, objects(a, b, zone), zone)
    only_a = asked(ours, objects(a, b, zone), a)
    gone = asked(ours, objects(a, b), zone)

    assert come == {"one": ["a", "zone"], "two": ["b", "zone"]}
    assert only_a == {"one": ["a", "zone"]}
    assert gone == {"one": ["a"], "two": ["b"]}


def test_an_object_alone_has_a_scope_of_its_name() -> None:
    ours = Roster(Handler(name="members", kinds=(Member,), wanted=lambda *_: ()))
    a = member("a")

    assert asked(ours, objects(a), a) == {"default/a": ["a"]}
