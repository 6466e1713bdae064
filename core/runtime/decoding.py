"""Map entries as plain data that JSON can hold, by the types that the kernel knows of a map."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TypedDict

from plait.codegen.codec import Codec
from plait.core.api.contract import FieldValue, Record
from plait.core.kernel.maps import Map

Plain = None | bool | int | str | list["Plain"] | dict[str, "Plain"]


class Summary(TypedDict):
    """A map: entries used (of a hash) and possible, bytes of kernel memory."""

    name: str
    entries: int
    capacity: int
    bytes: int


class Entry(TypedDict):
    """One decoded entry; a per-CPU value is a list with one record for each CPU."""

    key: Plain
    value: Plain


def summaries(maps: Mapping[str, Map]) -> list[Summary]:
    """One row for each map."""
    return [
        Summary(
            name=name,
            entries=each.count(),
            capacity=each.info.max_entries,
            bytes=each.memory_bytes,
        )
        for name, each in maps.items()
    ]


def entries(each: Map) -> list[Entry]:
    """All entries, decoded."""
    key_codec, value_codec = each.codecs()
    per_cpu = each.value_stride != each.info.value_size
    return [
        Entry(
            key=_plain_key(key_codec, key),
            value=[plain(value_codec.decode(one)) for one in each.cpu_values(value)]
            if per_cpu
            else plain(value_codec.decode(value)),
        )
        for key, value in each.items()
    ]


class MapReader(Mapping[str, Iterable[tuple[Record, Record]]]):
    """The decoded entries of maps, read when they are asked for."""

    def __init__(self, maps: Mapping[str, Map]) -> None:
        self._maps = maps

    def __getitem__(self, name: str) -> Iterator[tuple[Record, Record]]:
        found = self._maps[name]
        key_codec, value_codec = found.codecs()
        return (
            (key_codec.decode(key), value_codec.decode(one))
            for key, value in found.items()
            for one in found.cpu_values(value)
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._maps)

    def __len__(self) -> int:
        return len(self._maps)


def plain(value: FieldValue) -> Plain:
    """A decoded value with addresses as text and bytes as aa:bb:.. ."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, bytes):
        return value.hex(":")
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    return str(value)


def _plain_key(codec: Codec, key: bytes) -> Plain:
    return plain(codec.decode(key))
