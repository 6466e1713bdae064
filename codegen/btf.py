"""BTF, the types of an object or of a loaded map, as frozen values.

The format is described in the kernel's Documentation/bpf/btf.rst. Types refer to each other by
id, an index into `Btf.types`, because a C type may contain a pointer to itself.
"""

import enum
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

_HEADER = struct.Struct("=HBBIIIII")
_TYPE = struct.Struct("=III")
_MAGIC = 0xEB9F
_POINTER_SIZE = 8
_UNION = 5
_SIGNED = 1
_BOOL = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Void:
    """`void`, and whatever this parser has no use for: functions, floats, forward declarations."""

    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Int:
    """An integer, a char or a bool of `size` bytes."""

    name: str
    size: int
    signed: bool
    boolean: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Enum:
    """An enum of `size` bytes and its values by name."""

    name: str
    size: int
    signed: bool
    values: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    """A pointer to the type with id `target`."""

    name: str
    target: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Array:
    """`count` elements of the type with id `element`."""

    name: str
    element: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A field of a struct, `offset` bits from its start; `bits` is 0 unless it is a bit field."""

    name: str
    type: int
    offset: int
    bits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Struct:
    """A struct, or a union, of `size` bytes. The name is '' for an anonymous one."""

    name: str
    size: int
    union: bool
    members: tuple[Member, ...]


class Alias(enum.Enum):
    """What stands between a name and the type that it resolves to."""

    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    TYPE_TAG = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasType:
    """A typedef or a qualifier of the type with id `target`."""

    name: str
    alias: Alias
    target: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A global variable."""

    name: str
    type: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """An ELF section and the ids of the variables in it."""

    name: str
    variables: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """`btf_decl_tag(name)` on the type with id `target`, or on a member of it (-1: on itself)."""

    name: str
    target: int
    component: int


Type = Void | Int | Enum | Pointer | Array | Struct | AliasType | Variable | Section | Tag


@dataclass(frozen=True, slots=True, kw_only=True)
class Btf:
    """All types of one object. `types[0]` is void."""

    types: tuple[Type, ...]

    def resolve(self, type_id: int) -> Type:
        """The type behind all typedefs and qualifiers."""
        found = self.types[type_id]
        while isinstance(found, AliasType):
            found = self.types[found.target]
        return found

    def names(self, type_id: int) -> Iterator[str]:
        """The names of the typedefs on the way to the type, then its own."""
        found = self.types[type_id]
        while isinstance(found, AliasType):
            if found.alias is Alias.TYPEDEF:
                yield found.name
            found = self.types[found.target]
        yield found.name

    def size(self, type_id: int) -> int:
        """Bytes that a value of the type takes. ValueError for a type that has no values."""
        match self.resolve(type_id):
            case Int(size=size) | Enum(size=size) | Struct(size=size):
                return size
            case Pointer():
                return _POINTER_SIZE
            case Array(element=element, count=count):
                return count * self.size(element)
            case other:
                raise ValueError(f"BTF type {type_id} ({other.name or 'void'}) has no size")

    def find(self, name: str) -> int | None:
        """The id of the struct, union, enum or typedef called so, or None."""
        for type_id, found in enumerate(self.types):
            if found.name == name and isinstance(found, Struct | Enum | AliasType):
                return type_id
        return None

    def section(self, name: str) -> tuple[int, ...]:
        """The ids of the variables in an ELF section; empty when there is none."""
        for found in self.types:
            if isinstance(found, Section) and found.name == name:
                return found.variables
        return ()

    def tags(self) -> dict[tuple[int, int], str]:
        """The text of every decl tag by (type id, member number or -1)."""
        return {(t.target, t.component): t.name for t in self.types if isinstance(t, Tag)}


def parse_btf(raw: bytes) -> Btf:
    """Parse raw BTF, as in an object's .BTF section or from the kernel.

    ValueError when it is not BTF in this machine's byte order, or holds a kind unknown so far.
    """
    if len(raw) < _HEADER.size or struct.unpack_from("=H", raw)[0] != _MAGIC:
        raise ValueError("not BTF, or not in this machine's byte order")
    _, _, _, header, types_at, types_size, strings_at, strings_size = _HEADER.unpack_from(raw)
    types = raw[header + types_at : header + types_at + types_size]
    strings = raw[header + strings_at : header + strings_at + strings_size]
    return Btf(types=(Void(), *_parse_types(types, strings)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Raw:
    """One type as it stands in the file: three words, then `words`, whose meaning its kind sets."""

    kind: int
    name: str
    flag: bool
    size_or_target: int
    words: tuple[int, ...]
    strings: bytes

    def string(self, at: int) -> str:
        return _string(self.strings, at)


def _parse_types(types: bytes, strings: bytes) -> Iterator[Type]:
    at = 0
    while at < len(types):
        name_at, info, size_or_target = _TYPE.unpack_from(types, at)
        kind, count, flag = info >> 24 & 0x1F, info & 0xFFFF, bool(info >> 31)
        if kind not in _KINDS:
            raise ValueError(f"BTF kind {kind} is newer than this parser")
        fixed, each, parse = _KINDS[kind]
        start = at + _TYPE.size
        at = start + fixed + each * count
        yield parse(
            _Raw(
                kind=kind,
                name=_string(strings, name_at),
                flag=flag,
                size_or_target=size_or_target,
                words=struct.unpack(f"={(at - start) // 4}I", types[start:at]),
                strings=strings,
            )
        )


def _string(strings: bytes, at: int) -> str:
    return strings[at : strings.index(b"\0", at)].decode()


def _void(raw: _Raw) -> Void:
    return Void(name=raw.name)


def _int(raw: _Raw) -> Int:
    encoding = raw.words[0] >> 24
    return Int(
        name=raw.name,
        size=raw.size_or_target,
        signed=bool(encoding & _SIGNED),
        boolean=bool(encoding & _BOOL),
    )


def _pointer(raw: _Raw) -> Pointer:
    return Pointer(name=raw.name, target=raw.size_or_target)


def _array(raw: _Raw) -> Array:
    element, _, count = raw.words
    return Array(name=raw.name, element=element, count=count)


def _struct(raw: _Raw) -> Struct:
    return Struct(
        name=raw.name, size=raw.size_or_target, union=raw.kind == _UNION, members=_members(raw)
    )


def _members(raw: _Raw) -> tuple[Member, ...]:
    """With the flag set, an offset's upper eight bits are the width of a bit field."""
    offset_bits = 24 if raw.flag else 32
    return tuple(
        Member(
            name=raw.string(name_at),
            type=target,
            offset=offset & (1 << offset_bits) - 1,
            bits=offset >> offset_bits,
        )
        for name_at, target, offset in _by(3, raw.words)
    )


def _enum(raw: _Raw) -> Enum:
    values = tuple(
        (raw.string(name_at), _sign(value, 32, raw.flag)) for name_at, value in _by(2, raw.words)
    )
    return Enum(name=raw.name, size=raw.size_or_target, signed=raw.flag, values=values)


def _enum64(raw: _Raw) -> Enum:
    values = tuple(
        (raw.string(name_at), _sign(high << 32 | low, 64, raw.flag))
        for name_at, low, high in _by(3, raw.words)
    )
    return Enum(name=raw.name, size=raw.size_or_target, signed=raw.flag, values=values)


def _alias(raw: _Raw) -> AliasType:
    return AliasType(name=raw.name, alias=Alias(raw.kind), target=raw.size_or_target)


def _variable(raw: _Raw) -> Variable:
    return Variable(name=raw.name, type=raw.size_or_target)


def _section(raw: _Raw) -> Section:
    return Section(name=raw.name, variables=raw.words[::3])


def _tag(raw: _Raw) -> Tag:
    return Tag(name=raw.name, target=raw.size_or_target, component=_sign(raw.words[0], 32, True))


def _by(step: int, words: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    return zip(*(words[start::step] for start in range(step)), strict=True)


def _sign(value: int, bits: int, signed: bool) -> int:
    return value - (1 << bits) if signed and value >> (bits - 1) else value


_KINDS: Mapping[int, tuple[int, int, Callable[[_Raw], Type]]] = {
    1: (4, 0, _int),
    2: (0, 0, _pointer),
    3: (12, 0, _array),
    4: (0, 12, _struct),
    5: (0, 12, _struct),
    6: (0, 8, _enum),
    7: (0, 0, _void),
    8: (0, 0, _alias),
    9: (0, 0, _alias),
    10: (0, 0, _alias),
    11: (0, 0, _alias),
    12: (0, 0, _void),
    13: (0, 8, _void),
    14: (4, 0, _variable),
    15: (0, 12, _section),
    16: (0, 0, _void),
    17: (4, 0, _tag),
    18: (0, 0, _alias),
    19: (0, 12, _enum64),
}
"""By kind: the bytes that follow the first three words, fixed and per element; what reads it."""
