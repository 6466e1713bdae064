"""Migration: the entries of a map, carried over into one of another layout or size."""

from collections.abc import Callable, Iterator

from plait.codegen.migrate import copy_plan, migrate_buffer
from plait.core.api.contract import MapSpec
from plait.core.errors import PlaitError
from plait.core.kernel.maps import Entries, Map, MapFull

Convert = Callable[[Entries], Entries]


def migrate(spec: MapSpec, old: Map, new: Map) -> int:
    """Copy all entries of `old` that `new` does not have; returns how many.

    Called before the swap, and again after it for what the old programs still added. PlaitError
    when a field cannot hold its old values, or the new map is too small.
    """
    convert = converter(spec, old, new)
    present = {key for key, _ in new.items()}
    copied = 0
    for chunk in old.chunks():
        fresh = _without(convert(chunk), present, new)
        if not fresh.count:
            continue
        try:
            new.write(fresh)
        except MapFull as full:
            raise PlaitError(
                f"map {spec.name} is too small for the entries that it has now",
                hint=f"raise {spec.config_key}" if spec.config_key else None,
            ) from full
        copied += fresh.count
    return copied


def converter(spec: MapSpec, old: Map, new: Map) -> Convert:
    """What turns entries of `old` into those of `new`."""
    if spec.migrate is not None:
        return _by_plugin(spec, old, new)
    old_key, old_value = old.layouts()
    new_key, new_value = new.layouts()
    keys, values = copy_plan(old_key, new_key), copy_plan(old_value, new_value)

    # In a per-CPU map, a value is one record after the other.
    records = old.value_stride // _padded(old)
    old_size, new_size = old.value_stride // records, new.value_stride // records

    def convert(chunk: Entries) -> Entries:
        count = chunk.count
        return Entries(
            count=count,
            keys=migrate_buffer(chunk.keys, count, old.info.key_size, new.info.key_size, keys),
            values=migrate_buffer(chunk.values, count * records, old_size, new_size, values),
        )

    return convert


def _padded(each: Map) -> int:
    size = each.info.value_size
    return size if size == each.value_stride else -(-size // 8) * 8


def _by_plugin(spec: MapSpec, old: Map, new: Map) -> Convert:
    (old_key, old_value), (new_key, new_value) = old.codecs(), new.codecs()

    def converted(chunk: Entries) -> Iterator[tuple[bytes, bytes]]:
        assert spec.migrate is not None
        for key, value in _pairs(chunk, old):
            entry = spec.migrate(old_key.decode(key), old_value.decode(value))
            if entry is not None:
                yield new_key.encode(entry[0]), new_value.encode(entry[1])

    return lambda chunk: _entries(converted(chunk))


def _without(chunk: Entries, present: set[bytes], of: Map) -> Entries:
    if not present:
        return chunk
    return _entries(pair for pair in _pairs(chunk, of) if pair[0] not in present)


def _pairs(chunk: Entries, of: Map) -> Iterator[tuple[bytes, bytes]]:
    key_size, stride = of.info.key_size, of.value_stride
    for index in range(chunk.count):
        yield (
            chunk.keys[index * key_size : (index + 1) * key_size],
            chunk.values[index * stride : (index + 1) * stride],
        )


def _entries(pairs: Iterator[tuple[bytes, bytes]]) -> Entries:
    found = list(pairs)
    return Entries(
        count=len(found),
        keys=b"".join(key for key, _ in found),
        values=b"".join(value for _, value in found),
    )
