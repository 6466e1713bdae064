"""Layouts of map keys and values: what a C struct looks like in memory, read from BTF.

A layout is a plain value: two generations whose layouts are equal can share a map, and where they
differ, `copy_plan` says which bytes of an old entry go where in a new one.
"""

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from plait.codegen.btf import Array, Btf, Enum, Int, Struct

_BIG_ENDIAN_NAMES = frozenset({"__be16", "__be32", "__be64"})
_ADDRESS_NAMES = frozenset({"plait_addr", "plait_ip4"})
_WIDEST = 8


class Kind(enum.Enum):
    """How the bytes of a scalar are to be read."""

    UNSIGNED = enum.auto()
    SIGNED = enum.auto()
    BIG_ENDIAN = enum.auto()
    """Unsigned, in network order."""
    BOOL = enum.auto()
    BYTES = enum.auto()
    """An array of `__u8` or `char`."""
    ADDRESS = enum.auto()
    """`struct plait_addr`, an IPv6 address or an IPv4 address as ::ffff:a.b.c.d; `plait_ip4`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar:
    """A value without parts, of `size` bytes."""

    size: int
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayLayout:
    """`count` equal elements, one after the other."""

    size: int
    element: "Layout"
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A named part, `offset` bytes from the start of its struct."""

    name: str
    offset: int
    layout: "Layout"


@dataclass(frozen=True, slots=True, kw_only=True)
class StructLayout:
    """A struct or union of `size` bytes; bytes between its fields are padding, always zero.

    Fields named `pad...` are padding, too. The fields of a union all start at 0. An anonymous
    struct or union is a field without a name.
    """

    size: int
    name: str
    union: bool
    fields: tuple[Field, ...]


Layout = Scalar | ArrayLayout | StructLayout


def member(struct: Layout, name: str) -> Field:
    """A field of a struct's layout. LookupError when it has none of that name."""
    for field in struct.fields if isinstance(struct, StructLayout) else ():
        if field.name == name:
            return field
    raise LookupError(f"no field {name}")


def layout_of(btf: Btf, type_id: int) -> Layout:
    """The layout of a type.

    ValueError for what has no place in a map entry: bit fields, pointers, floats, __int128.
    """
    names = frozenset(btf.names(type_id))
    match btf.resolve(type_id):
        case Int(size=size) | Struct(size=size) if not names.isdisjoint(_ADDRESS_NAMES):
            return Scalar(size=size, kind=Kind.ADDRESS)
        case Int(size=size) if not names.isdisjoint(_BIG_ENDIAN_NAMES):
            return Scalar(size=size, kind=Kind.BIG_ENDIAN)
        case Int(boolean=True, size=size):
            return Scalar(size=size, kind=Kind.BOOL)
        case Int(size=size, signed=signed) | Enum(size=size, signed=signed) if size <= _WIDEST:
            return Scalar(size=size, kind=Kind.SIGNED if signed else Kind.UNSIGNED)
        case Array(element=element, count=count):
            return _array(layout_of(btf, element), count)
        case Struct(name=name, size=size, union=union) as found:
            fields = tuple(_fields(btf, found))
            return StructLayout(size=size, name=name, union=union, fields=fields)
        case other:
            kind = type(other).__name__.lower()
            raise ValueError(f"a {kind} ('{other.name}') has no place in a map entry")


def _array(element: Layout, count: int) -> Layout:
    if isinstance(element, Scalar) and element.size == 1 and element.kind is not Kind.BOOL:
        return Scalar(size=count, kind=Kind.BYTES)
    return ArrayLayout(size=count * element.size, element=element, count=count)


def _fields(btf: Btf, struct: Struct) -> Iterator[Field]:
    for member in struct.members:
        if member.bits:
            raise ValueError(f"bit field '{member.name}' has no place in a map entry")
        if not member.name.startswith("pad"):
            layout = layout_of(btf, member.type)
            yield Field(name=member.name, offset=member.offset // 8, layout=layout)
