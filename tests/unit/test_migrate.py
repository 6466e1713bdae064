"""Old entries into a new layout: what is kept, what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.codegen.codec import Codec
from plait.codegen.layout import ArrayLayout, Field, Kind, Layout, Scalar, StructLayout
from plait.codegen.migrate import copy_plan, migrate_buffer
from plait.core.api import Record
from plait.core.errors import PlaitError

U16 = Scalar(size=2, kind=Kind.UNSIGNED)
U32 = Scalar(size=4, kind=Kind.UNSIGNED)
U64 = Scalar(size=8, kind=Kind.UNSIGNED)
S32 = Scalar(size=4, kind=Kind.SIGNED)
BE16 = Scalar(size=2, kind=Kind.BIG_ENDIAN)
BE32 = Scalar(size=4, kind=Kind.BIG_ENDIAN)
MAC = Scalar(size=6, kind=Kind.BYTES)


def struct(**fields: Layout) -> StructLayout:
    """A struct without holes."""
    placed, at = [], 0
    for name, layout in fields.items():
        placed.append(Field(name=name, offset=at, layout=layout))
        at += layout.size
    return StructLayout(size=at, name="s", union=False, fields=tuple(placed))


def union_of(**fields: Layout) -> StructLayout:
    placed = tuple(Field(name=name, offset=0, layout=layout) for name, layout in fields.items())
    size = max(layout.size for layout in fields.values())
    return StructLayout(size=size, name="u", union=True, fields=placed)


def array_of(element: Layout, count: int) -> ArrayLayout:
    return ArrayLayout(size=count * element.size, element=element, count=count)


def migrated(old: StructLayout, new: StructLayout, *records: Record) -> list[Record]:
    """Records of the old layout as they read in the new one."""
    before = b"".join(Codec(old).encode(record) for record in records)
    after = migrate_buffer(before, len(records), old.size, new.size, copy_plan(old, new))
    return [Codec(new).decode(after[at : at + new.size]) for at in range(0, len(after), new.size)]


def test_fields_are_carried_over_by_name() -> None:
    old, new = struct(a=U32, gone=U64, b=BE16), struct(b=BE16, fresh=U16, a=U32)

    records = migrated(old, new, {"a": 1, "gone": 2, "b": 3}, {"a": 4, "gone": 5, "b": 6})

    assert records == [{"b": 3, "fresh": 0, "a": 1}, {"b": 6, "fresh": 0, "a": 4}]


def test_numbers_may_grow_in_either_byte_order() -> None:
    old, new = struct(a=U16, b=BE16), struct(a=U64, b=BE32)

    assert migrated(old, new, {"a": 0x0102, "b": 0x0304}) == [{"a": 0x0102, "b": 0x0304}]


def test_an_array_may_grow_and_so_may_its_elements() -> None:
    old, new = struct(a=array_of(U16, 2)), struct(a=array_of(U32, 3))

    assert migrated(old, new, {"a": (1, 2)}) == [{"a": (1, 2, 0)}]


def test_nested_structs_are_carried_over_field_by_field() -> None:
    old = struct(inner=struct(a=U32, b=U32), c=U32)
    new = struct(c=U32, inner=struct(b=U32, a=U32))

    records = migrated(old, new, {"inner": {"a": 1, "b": 2}, "c": 3})

    assert records == [{"c": 3, "inner": {"b": 2, "a": 1}}]


def test_an_unchanged_struct_is_one_copy() -> None:
    layout = struct(a=U32, b=U64, c=array_of(U16, 1000))

    assert copy_plan(layout, layout) == ((0, 0, layout.size),)


def test_a_union_is_copied_whole() -> None:
    via = union_of(mac=MAC, nexthop=array_of(U32, 5))
    old, new = struct(via=via), struct(a=U32, via=via)

    assert copy_plan(old, new) == ((0, 4, 20),)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (U64, U32),
        (U32, BE32),
        (U32, S32),
        (array_of(U16, 3), array_of(U16, 2)),
        (U32, struct(x=U32)),
        (union_of(a=U32), union_of(a=U32, b=U32)),
    ],
)
def test_a_field_that_cannot_hold_its_old_values_is_refused_by_name(
    old: Layout, new: Layout
) -> None:
    with pytest.raises(PlaitError, match=r"^s\.f was .*, is .* now") as refusal:
        copy_plan(struct(f=old), struct(f=new))

    assert "migrate" in (refusal.value.hint or "")


@given(st.permutations(["a", "b", "c", "d"]), st.lists(st.tuples(*[st.integers(0, 9)] * 4)))
def test_reordering_any_number_of_entries_loses_nothing(
    order: list[str], rows: list[tuple[int, ...]]
) -> None:
    layouts: dict[str, Layout] = {"a": U16, "b": U32, "c": BE32, "d": U64}
    old, new = struct(**layouts), struct(**{name: layouts[name] for name in order})
    records = [dict(zip("abcd", row, strict=True)) for row in rows]

    assert migrated(old, new, *records) == records
