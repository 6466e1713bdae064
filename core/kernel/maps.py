"""Maps of the running kernel: read, write, pin, and learn their layout."""

import errno
import mmap
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from functools import lru_cache
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from plait.codegen.btf import Btf, parse_btf
from plait.codegen.codec import Codec
from plait.codegen.layout import Layout, layout_of
from plait.core.kernel import info as kernel_info
from plait.core.kernel import libbpf

_Item = TypeVar("_Item")

_CHUNK_BYTES = 1 << 20
_CHUNK_ENTRIES = 4096


class MapType(IntEnum):
    """The kernel's enum bpf_map_type, as far as Plait meets it."""

    HASH = 1
    ARRAY = 2
    PERCPU_HASH = 5
    PERCPU_ARRAY = 6
    LRU_HASH = 9
    LRU_PERCPU_HASH = 10
    LPM_TRIE = 11
    DEVMAP_HASH = 25
    RINGBUF = 27


class MapFlag(IntFlag):
    """The kernel's BPF_F_* flags of a map, as far as Plait meets them."""

    NO_PREALLOC = 1 << 0
    MMAPABLE = 1 << 10


ARRAYS = (MapType.ARRAY, MapType.PERCPU_ARRAY)
LRU = (MapType.LRU_HASH, MapType.LRU_PERCPU_HASH)
PER_CPU = frozenset({MapType.PERCPU_HASH, MapType.PERCPU_ARRAY, MapType.LRU_PERCPU_HASH})


class MapFull(Exception):
    """A map has no room for another entry."""

    def __init__(self, name: str) -> None:
        super().__init__(f"map {name} is full")
        self.name = name


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """`count` entries: their keys one after the other, and so their values."""

    count: int
    keys: bytes
    values: bytes


class Map:
    """A map behind a descriptor, which it owns: close it, or use it as a context manager.

    Keys and values are bytes. In a per-CPU map, a value is that of every possible CPU in turn, each
    padded to a multiple of 8 bytes: see `cpu_values`.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.info = kernel_info.map_info(fd)
        self._padded_size = -(-self.info.value_size // 8) * 8
        self.value_stride = self.info.value_size
        if self.info.type in PER_CPU:
            self.value_stride = self._padded_size * libbpf.possible_cpus()
        entry = self.info.key_size + self.value_stride
        self._chunk = max(1, min(_CHUNK_ENTRIES, _CHUNK_BYTES // max(1, entry)))

    @classmethod
    def create(
        cls,
        *,
        map_type: MapType,
        name: str,
        key_size: int,
        value_size: int,
        max_entries: int,
        flags: int = 0,
    ) -> Self:
        """A new map that nothing refers to yet: sizes in bytes, `flags` of MapFlag.

        OSError when the kernel refuses.
        """
        fd = libbpf.map_create(
            map_type=map_type,
            name=name,
            key_size=key_size,
            value_size=value_size,
            max_entries=max_entries,
            flags=flags,
        )
        return cls(fd)

    @classmethod
    def pinned(cls, path: Path) -> Self:
        """The map pinned there. OSError ENOENT when nothing is."""
        return cls(libbpf.pinned(path))

    def pin(self, path: Path) -> None:
        """Give the map a name on bpffs. OSError EEXIST when the name is taken."""
        libbpf.pin(self.fd, path)

    @property
    def memory_bytes(self) -> int:
        """What the kernel charges for the map, in bytes."""
        for line in Path(f"/proc/self/fdinfo/{self.fd}").read_text().splitlines():
            if line.startswith("memlock:"):
                return int(line.split()[1])
        return 0

    def lookup(self, key: bytes) -> bytes | None:
        """The value of a key, or None."""
        try:
            return libbpf.map_lookup(self.fd, key, self.value_stride)
        except FileNotFoundError:
            return None

    def cpu_values(self, value: bytes) -> tuple[bytes, ...]:
        """A per-CPU map's value, cut into one of `value_size` bytes for each possible CPU."""
        starts = range(0, len(value), self._padded_size)
        return tuple(value[start : start + self.info.value_size] for start in starts)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All entries. Those that others add or remove meanwhile may be missed."""
        for chunk in self.chunks():
            yield from self._cut(chunk)

    def chunks(self) -> Iterator[Entries]:
        """All entries, many at a time: the fast way to copy or migrate a map."""
        token, count = None, self._chunk
        while True:
            key_size, value_size = self.info.key_size, self.value_stride
            chunk = libbpf.map_lookup_batch(self.fd, token, key_size, value_size, count)
            if chunk.error == errno.ENOSPC:  # one hash bucket alone holds more than `count`
                count *= 2
                continue
            if chunk.error not in (0, errno.ENOENT):
                yield from self._single_entries()
                return
            if chunk.count:
                yield Entries(count=chunk.count, keys=chunk.keys, values=chunk.values)
            if chunk.error == errno.ENOENT:
                return
            token = chunk.token

    def count(self) -> int:
        """How many entries there are."""
        return sum(chunk.count for chunk in self.chunks())

    def update(self, key: bytes, value: bytes) -> None:
        """Add or replace an entry. MapFull when there is no room."""
        try:
            libbpf.map_update(self.fd, key, value)
        except OSError as error:
            if error.errno in (errno.E2BIG, errno.ENOSPC):
                raise MapFull(self.info.name) from None
            raise

    def update_many(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """Add or replace entries, in order. MapFull when there is no room for all of them."""
        for chunk in _chunks(pairs, self._chunk):
            keys, values = zip(*chunk, strict=True)
            self.write(Entries(count=len(chunk), keys=b"".join(keys), values=b"".join(values)))

    def write(self, entries: Entries) -> None:
        """Add or replace entries. MapFull when there is no room for all of them."""
        try:
            libbpf.map_update_batch(self.fd, entries.keys, entries.values, entries.count)
        except OSError:
            # No batches for this type of map, or an entry was refused: one by one tells which.
            for key, value in self._cut(entries):
                self.update(key, value)

    def delete(self, key: bytes) -> bool:
        """Remove an entry; False when there is none. OSError EINVAL for an array."""
        try:
            libbpf.map_delete(self.fd, key)
        except FileNotFoundError:
            return False
        return True

    def delete_many(self, keys: Iterable[bytes]) -> None:
        """Remove entries, passing over keys that the map does not have. OSError for an array."""
        for chunk in _chunks(keys, self._chunk):
            try:
                libbpf.map_delete_batch(self.fd, b"".join(chunk), len(chunk))
            except OSError:  # it stops at the first key that is not there
                for key in chunk:
                    self.delete(key)

    def clear(self) -> None:
        """Remove all entries; those of an array, which has them always, become zero."""
        keys = [key for key, _ in self.items()]
        if self.info.type in ARRAYS:
            self.update_many((key, bytes(self.value_stride)) for key in keys)
        else:
            self.delete_many(keys)

    def memory(self) -> memoryview:
        """The values of an MMAPABLE array, shared with the kernel; each padded to 8 bytes.

        OSError EPERM or EINVAL for any other map.
        """
        return memoryview(mmap.mmap(self.fd, self._padded_size * self.info.max_entries))

    def layouts(self) -> tuple[Layout, Layout]:
        """The layouts of key and value, as the kernel knows them. ValueError when it does not."""
        if not self.info.btf_id:
            raise ValueError(f"map {self.info.name} was created without types")
        types = _types(self.info.btf_id)
        return (
            layout_of(types, self.info.btf_key_type_id),
            layout_of(types, self.info.btf_value_type_id),
        )

    def codecs(self) -> tuple[Codec, Codec]:
        """Codecs of key and value, from the types that the kernel has. ValueError without them."""
        key, value = self.layouts()
        return Codec(key), Codec(value)

    def close(self) -> None:
        """Give the descriptor back; the map lives on while a program or a pin refers to it."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _single_entries(self) -> Iterator[Entries]:
        """For types of maps that have no batches."""
        key = None
        while True:
            try:
                key = libbpf.map_next_key(self.fd, key, self.info.key_size)
            except FileNotFoundError:
                return
            if (value := self.lookup(key)) is not None:
                yield Entries(count=1, keys=key, values=value)

    def _cut(self, entries: Entries) -> Iterator[tuple[bytes, bytes]]:
        key_size, value_size = self.info.key_size, self.value_stride
        for index in range(entries.count):
            key = entries.keys[index * key_size : (index + 1) * key_size]
            yield key, entries.values[index * value_size : (index + 1) * value_size]


def _chunks(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


# A map's types never change under an id, and the maps of one object share theirs.
@lru_cache(maxsize=4)
def _types(btf_id: int) -> Btf:
    return parse_btf(kernel_info.btf_bytes(btf_id))
