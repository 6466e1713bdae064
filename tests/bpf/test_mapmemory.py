"""The memory of full maps, told beforehand, and what the kernel says of them."""

import pytest

from plait.core.kernel import libbpf
from plait.core.kernel.mapmemory import full_bytes
from plait.core.kernel.maps import ARRAYS, Map, MapFlag, MapType

ADMINISTRATION = 1024


@pytest.mark.parametrize("entries", [1, 1000, 1024])
@pytest.mark.parametrize(("key", "value"), [(4, 8), (20, 100)])
@pytest.mark.parametrize(
    "map_type",
    [
        MapType.HASH,
        MapType.LRU_HASH,
        MapType.PERCPU_HASH,
        MapType.ARRAY,
        MapType.PERCPU_ARRAY,
    ],
    ids=lambda each: each.name,
)
def test_a_map_that_is_allocated_at_once(
    map_type: MapType, key: int, value: int, entries: int
) -> None:
    key_size = 4 if map_type in ARRAYS else key
    with Map.create(
        map_type=map_type, name="test", key_size=key_size, value_size=value, max_entries=entries
    ) as made:
        told = full_bytes(
            map_type=map_type,
            key_size=key_size,
            value_size=value,
            max_entries=made.info.max_entries,
            cpus=libbpf.possible_cpus(),
        )

        assert 0 <= made.memory_bytes - told <= ADMINISTRATION


# The second value is what kmalloc makes of an entry, the first what the kernel says of it.
@pytest.mark.parametrize(
    ("value", "said", "taken"), [(4, 88, 96), (100, 184, 192), (190, 272, 512), (2042, 2128, 4096)]
)
def test_a_map_whose_entries_are_allocated_one_by_one(value: int, said: int, taken: int) -> None:
    with Map.create(
        map_type=MapType.HASH,
        name="test",
        key_size=20,
        value_size=value,
        max_entries=1024,
        flags=MapFlag.NO_PREALLOC,
    ) as made:
        empty = made.memory_bytes
        made.update_many((number.to_bytes(20, "little"), bytes(value)) for number in range(1024))
        told = full_bytes(
            map_type=MapType.HASH,
            key_size=20,
            value_size=value,
            max_entries=1024,
            flags=MapFlag.NO_PREALLOC,
        )

        assert made.memory_bytes - empty == 1024 * said
        assert 0 <= empty + 1024 * taken - told <= ADMINISTRATION
