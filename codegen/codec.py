"""Codecs: records (field names as in C) to the bytes of a map key or value, and back."""

import reprlib
import struct
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from operator import itemgetter
from typing import cast

from plait.codegen.layout import ArrayLayout, Field, Kind, Layout, Scalar, StructLayout
from plait.core.api.contract import FieldValue, Record
from plait.core.errors import PlaitError

_UNSIGNED = {1: "B", 2: "H", 4: "I", 8: "Q"}
_SIGNED = {1: "b", 2: "h", 4: "i", 8: "q"}
_NUMBERS = (Kind.UNSIGNED, Kind.SIGNED, Kind.BIG_ENDIAN)
_ADDRESS_SIZE = 16
_IPV4_PREFIX = bytes(10) + b"\xff\xff"
_MISFITS = (KeyError, TypeError, ValueError, AttributeError, OverflowError, struct.error)

Wire = int | bool | bytes
"""What the struct module takes for one field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """How one field is packed: its format, and conversions where `struct` alone will not do."""

    format: str
    pack: Callable[[FieldValue], Wire] | None = None
    unpack: Callable[[bytes], FieldValue] | None = None


class Codec:
    """Encodes and decodes one layout; made once per type, used for every entry.

    A record has the fields of the struct, of a union only the first one, and those of anonymous
    members as if they were its own. A layout that is not a struct has one field, `value`.
    """

    def __init__(self, layout: Layout) -> None:
        fields = tuple(_fields(layout))
        parts = {field.name: _part(field.layout) for field in fields}
        self.layout = layout
        self.size = layout.size
        self._name = _name(layout)
        self._parts = parts
        self._values = _getter(tuple(parts))
        self._packs = [(i, part.pack) for i, part in enumerate(parts.values()) if part.pack]
        self._unpacks = [(i, part.unpack) for i, part in enumerate(parts.values()) if part.unpack]
        self._struct = struct.Struct(_format(layout.size, fields, parts))

    def encode(self, record: Record) -> bytes:
        """The bytes of a record, `size` long; padding is zero.

        PlaitError that names struct and field when one is missing, unknown or does not fit.
        """
        try:
            values = list(self._values(record))
            if len(record) != len(values):
                raise KeyError
            for index, pack in self._packs:
                values[index] = pack(values[index])
            return self._struct.pack(*values)
        except _MISFITS:
            raise self._misfit(record) from None

    def decode(self, raw: bytes) -> dict[str, FieldValue]:
        """The record in `raw`. struct.error when that is not `size` bytes long."""
        values = list(self._struct.unpack(raw))
        for index, unpack in self._unpacks:
            values[index] = unpack(values[index])
        return dict(zip(self._parts, values, strict=True))

    def _misfit(self, record: Record) -> PlaitError:
        """What is wrong with a record that could not be encoded."""
        fields = f"the fields {', '.join(self._parts)}"
        if not isinstance(record, Mapping):
            return PlaitError(f"{self._name}: {record!r} is no record", expected=fields)
        for name in record.keys() - self._parts.keys():
            return PlaitError(f"{self._name} has no field '{name}'", expected=fields)
        for name, part in self._parts.items():
            if name not in record:
                return PlaitError(f"{self._name}: field '{name}' is missing", expected=fields)
            if (reason := _misfit(part, record[name])) is not None:
                shown = reprlib.repr(record[name])
                return PlaitError(f"{self._name}: {name} = {shown} does not fit", expected=reason)
        raise AssertionError(f"{self._name}: every field of {record!r} fits on its own")


def _misfit(part: _Part, value: FieldValue) -> str | None:
    try:
        struct.pack(f"={part.format}", part.pack(value) if part.pack else value)
    except _MISFITS as error:
        return str(error)
    return None


def _fields(layout: Layout, at: int = 0) -> Iterator[Field]:
    if not isinstance(layout, StructLayout):
        yield Field(name="value", offset=at, layout=layout)
        return
    for field in layout.fields[:1] if layout.union else layout.fields:
        if field.name:
            yield Field(name=field.name, offset=at + field.offset, layout=field.layout)
        else:
            yield from _fields(field.layout, at + field.offset)


def _name(layout: Layout) -> str:
    if isinstance(layout, StructLayout) and layout.name:
        return f"{'union' if layout.union else 'struct'} {layout.name}"
    return "the record"


def _getter(names: tuple[str, ...]) -> Callable[[Record], Iterable[FieldValue]]:
    if len(names) > 1:
        return itemgetter(*names)
    return lambda record: [record[name] for name in names]


def _format(size: int, fields: Iterable[Field], parts: Mapping[str, _Part]) -> str:
    pieces, at = ["="], 0
    for field in fields:
        pieces.append(f"{field.offset - at}x{parts[field.name].format}")
        at = field.offset + field.layout.size
    return "".join(pieces) + f"{size - at}x"


def _part(layout: Layout) -> _Part:
    if isinstance(layout, StructLayout):
        return _record(layout)
    if isinstance(layout, Scalar):
        return _scalar(layout)
    element = layout.element
    if isinstance(element, Scalar) and element.kind in _NUMBERS:
        return _numbers(layout, element)
    if isinstance(element, StructLayout):
        return _records(layout, element)
    return _elements(layout)


def _scalar(layout: Scalar) -> _Part:
    match layout.kind:
        case Kind.UNSIGNED:
            return _Part(format=_UNSIGNED[layout.size])
        case Kind.SIGNED:
            return _Part(format=_SIGNED[layout.size])
        case Kind.BIG_ENDIAN:
            return _big_endian(layout.size)
        case Kind.BOOL:
            return _Part(format="?", pack=_pack_bool)
        case Kind.BYTES:
            return _bytes(layout.size)
        case Kind.ADDRESS:
            return _address(layout.size)


def _pack_bool(value: FieldValue) -> Wire:
    if value not in (0, 1):
        raise ValueError("expected true or false")
    return bool(value)


def _big_endian(size: int) -> _Part:
    def pack(value: FieldValue) -> Wire:
        if not isinstance(value, int):
            raise TypeError("expected a number")
        return value.to_bytes(size, "big")

    return _Part(format=f"{size}s", pack=pack, unpack=lambda raw: int.from_bytes(raw, "big"))


def _bytes(size: int) -> _Part:
    def pack(value: FieldValue) -> Wire:
        raw = bytes.fromhex(value.replace(":", "")) if isinstance(value, str) else value
        if not isinstance(raw, bytes) or len(raw) != size:
            raise ValueError(f"expected {size} bytes")
        return raw

    return _Part(format=f"{size}s", pack=pack)


def _address(size: int) -> _Part:
    def pack(value: FieldValue) -> Wire:
        if isinstance(value, IPv4Address):
            return prefix + value.packed
        if isinstance(value, IPv6Address) and prefix:
            return value.packed
        raise TypeError(f"expected an {'IPv4Address or IPv6Address' if prefix else 'IPv4Address'}")

    def unpack(raw: bytes) -> FieldValue:
        if raw.startswith(prefix):
            return IPv4Address(raw[len(prefix) :])
        return IPv6Address(raw)

    prefix = _IPV4_PREFIX if size == _ADDRESS_SIZE else b""
    return _Part(format=f"{size}s", pack=pack, unpack=unpack)


def _numbers(layout: ArrayLayout, element: Scalar) -> _Part:
    """An array of integers: the array module converts it as a whole."""
    code = (_SIGNED if element.kind is Kind.SIGNED else _UNSIGNED)[element.size]
    swap = element.kind is Kind.BIG_ENDIAN and sys.byteorder == "little"

    def pack(value: FieldValue) -> Wire:
        numbers = array(code, cast(Iterable[int], value))
        if len(numbers) != layout.count:
            raise ValueError(f"expected {layout.count} numbers, not {len(numbers)}")
        if swap:
            numbers.byteswap()
        return numbers.tobytes()

    def unpack(raw: bytes) -> FieldValue:
        numbers: array[int] = array(code, raw)
        if swap:
            numbers.byteswap()
        return tuple(numbers)

    return _Part(format=f"{layout.size}s", pack=pack, unpack=unpack)


def _records(layout: ArrayLayout, element: StructLayout) -> _Part:
    """An array of structs. As in C, fewer than it has may be given: the rest is zero."""
    codec = Codec(element)

    def pack(value: FieldValue) -> Wire:
        if not isinstance(value, tuple) or len(value) > layout.count:
            raise ValueError(f"expected a tuple of {layout.count} or less")
        return b"".join([codec.encode(cast(Record, each)) for each in value])

    def unpack(raw: bytes) -> FieldValue:
        starts = range(0, layout.size, element.size)
        return tuple(codec.decode(raw[start : start + element.size]) for start in starts)

    return _Part(format=f"{layout.size}s", pack=pack, unpack=unpack)


def _elements(layout: ArrayLayout) -> _Part:
    """An array of anything else, element by element."""
    element = _part(layout.element)
    each = struct.Struct(f"={element.format}")

    def pack(value: FieldValue) -> Wire:
        if not isinstance(value, tuple) or len(value) != layout.count:
            raise ValueError(f"expected a tuple of {layout.count}")
        return b"".join(each.pack(element.pack(v) if element.pack else v) for v in value)

    def unpack(raw: bytes) -> FieldValue:
        values = (value for (value,) in each.iter_unpack(raw))
        return tuple(element.unpack(v) if element.unpack else v for v in values)

    return _Part(format=f"{layout.size}s", pack=pack, unpack=unpack)


def _record(layout: StructLayout) -> _Part:
    codec = Codec(layout)

    def pack(value: FieldValue) -> Wire:
        if not isinstance(value, Mapping):
            raise TypeError(f"expected a record of {_name(layout)}")
        return codec.encode(value)

    return _Part(format=f"{layout.size}s", pack=pack, unpack=codec.decode)
