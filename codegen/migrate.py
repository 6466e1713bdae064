"""Carries map entries over from one layout to another, field by field, many at a time."""

import sys
from collections.abc import Iterable, Iterator

from plait.codegen.layout import ArrayLayout, Field, Kind, Layout, Scalar, StructLayout
from plait.core.errors import PlaitError

Copy = tuple[int, int, int]
"""(offset in the old entry, offset in the new entry, size), in bytes."""


def copy_plan(old: Layout, new: Layout) -> tuple[Copy, ...]:
    """What to copy so that fields keep their values by name; all other bytes become zero.

    Unsigned integers may grow, and so may arrays and byte strings, at their end. A field that is
    gone is dropped. A union is carried over as a whole, if it is the same. PlaitError when a
    field of the same name cannot hold the old values.
    """
    return tuple(_merged(_copies(old, new, "", 0, 0)))


def migrate_buffer(
    entries: bytes, count: int, old_size: int, new_size: int, plan: Iterable[Copy]
) -> bytes:
    """Apply a plan to `count` entries that stand one after the other.

    Copies one byte position of all entries at once: a slice with a stride costs nanoseconds per
    entry, where a loop over the entries costs microseconds.
    """
    migrated = bytearray(count * new_size)
    for source, target, size in plan:
        for byte in range(size):
            migrated[target + byte :: new_size] = entries[source + byte :: old_size]
    return bytes(migrated)


def _copies(old: Layout, new: Layout, name: str, source: int, target: int) -> Iterator[Copy]:
    match old, new:
        case StructLayout(union=True), StructLayout() if old == new:
            yield source, target, old.size
        case StructLayout(union=False), StructLayout(union=False):
            before = {_identity(field): field for field in old.fields}
            for field in new.fields:
                if was := before.get(_identity(field)):
                    path = f"{name or new.name}.{field.name}"
                    at = source + was.offset, target + field.offset
                    yield from _copies(was.layout, field.layout, path, *at)
        case ArrayLayout(), ArrayLayout() if old.element == new.element and old.size <= new.size:
            yield source, target, old.size
        case ArrayLayout(), ArrayLayout() if old.count <= new.count:
            for index in range(old.count):
                at = source + index * old.element.size, target + index * new.element.size
                yield from _copies(old.element, new.element, f"{name}[{index}]", *at)
        case Scalar(), Scalar() if old.kind is new.kind and _holds(old, new):
            yield source, target + _shift(old, new), old.size
        case _:
            raise PlaitError(
                f"{name or 'the entry'} was {_describe(old)}, is {_describe(new)} now",
                expected="the same type, or a wider one",
                hint="give the map's MapSpec a `migrate`, or on_reload=OnReload.RESET",
            )


def _identity(field: Field) -> str:
    """The name; an anonymous struct or union goes by what it starts with."""
    if field.name or not isinstance(field.layout, StructLayout):
        return field.name
    return _identity(field.layout.fields[0])


def _holds(old: Scalar, new: Scalar) -> bool:
    if new.size == old.size:
        return True
    growing = (Kind.UNSIGNED, Kind.BIG_ENDIAN, Kind.BYTES)
    return new.size > old.size and new.kind in growing


def _shift(old: Scalar, new: Scalar) -> int:
    """Where a number's low bytes stand in a wider number."""
    at_end = new.kind is Kind.BIG_ENDIAN or (new.kind is Kind.UNSIGNED and sys.byteorder == "big")
    return new.size - old.size if at_end else 0


def _merged(copies: Iterable[Copy]) -> Iterator[Copy]:
    """Copies that continue each other, as one."""
    pending: Copy | None = None
    for source, target, size in copies:
        if pending and (source, target) == (pending[0] + pending[2], pending[1] + pending[2]):
            pending = pending[0], pending[1], pending[2] + size
            continue
        if pending:
            yield pending
        pending = source, target, size
    if pending:
        yield pending


def _describe(layout: Layout) -> str:
    match layout:
        case Scalar(kind=kind, size=size):
            return f"{kind.name.lower().replace('_', ' ')} of {size} bytes"
        case ArrayLayout(count=count, element=element):
            return f"{count} times {_describe(element)}"
        case StructLayout(name=name):
            return f"struct {name}"
