"""Maps of the kernel: entries one by one and in batches, pins, layouts."""

from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from plait.core.api import Record
from plait.core.kernel import libbpf
from plait.core.kernel.bpfobject import BpfObject
from plait.core.kernel.maps import Map, MapFlag, MapFull, MapType

TYPED = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct plait_addr { __be32 w[4]; };
struct key { struct plait_addr addr; __be16 port; __u8 pad[2]; };
struct value { __u64 packets; };

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, struct key);
	__type(value, struct value);
} typed SEC(".maps");
"""


def number(value: int) -> bytes:
    return value.to_bytes(4, "little")


def hash_of(max_entries: int, map_type: MapType = MapType.HASH) -> Map:
    return Map.create(
        map_type=map_type, name="test", key_size=4, value_size=4, max_entries=max_entries
    )


@pytest.fixture
def small() -> Iterator[Map]:
    with hash_of(10) as made:
        yield made


def test_an_entry_is_there_until_it_is_deleted(small: Map) -> None:
    small.update(number(1), number(10))

    assert small.lookup(number(1)) == number(10)
    assert small.delete(number(1))
    assert small.lookup(number(1)) is None
    assert not small.delete(number(1))


def test_a_full_map_says_so_by_name(small: Map) -> None:
    small.update_many((number(n), number(n)) for n in range(10))

    with pytest.raises(MapFull, match="map test is full") as refusal:
        small.update(number(10), number(10))

    assert refusal.value.name == "test"


def test_a_batch_fills_a_map_before_it_is_full(small: Map) -> None:
    with pytest.raises(MapFull):
        small.update_many((number(n), number(n)) for n in range(20))

    assert len(list(small.items())) == 10


def test_entries_in_many_batches_all_come_back() -> None:
    entries = {number(n): number(n * 7) for n in range(20_000)}

    with hash_of(20_000) as large:
        large.update_many(entries.items())

        assert dict(large.items()) == entries


def test_keys_that_are_not_there_do_not_stop_a_deletion(small: Map) -> None:
    small.update_many((number(n), number(n)) for n in (1, 2, 3))

    small.delete_many([number(9), number(1), number(8), number(3)])

    assert dict(small.items()) == {number(2): number(2)}


def test_a_map_without_batches_is_read_entry_by_entry() -> None:
    no_batches = Map.create(
        map_type=MapType.DEVMAP_HASH, name="test", key_size=4, value_size=4, max_entries=4
    )
    with no_batches:
        no_batches.update_many([(number(7), number(1)), (number(8), number(1))])
        entries = dict(no_batches.items())
        no_batches.delete_many([number(7), number(5)])

        assert entries == {number(7): number(1), number(8): number(1)}
        assert [key for key, _ in no_batches.items()] == [number(8)]


def test_a_per_cpu_map_has_a_value_for_each_cpu() -> None:
    with hash_of(10, MapType.PERCPU_HASH) as counters:
        values = [n.to_bytes(8, "little") for n in range(libbpf.possible_cpus())]

        counters.update(number(1), b"".join(values))

        [(_, raw)] = counters.items()
        assert counters.cpu_values(raw) == tuple(value[:4] for value in values)
        assert counters.lookup(number(1)) == raw


def test_an_array_in_memory_is_the_map_itself() -> None:
    revisions = Map.create(
        map_type=MapType.ARRAY,
        name="test",
        key_size=4,
        value_size=4 + 4 * 65536,
        max_entries=1,
        flags=MapFlag.MMAPABLE,
    )
    with revisions:
        memory = revisions.memory()[: revisions.info.value_size].cast("I")

        memory[65536] = 77

        value = revisions.lookup(number(0))
        assert value is not None
        assert value[-4:] == number(77)


def test_a_pinned_map_outlives_its_descriptor(bpffs: Path, small: Map) -> None:
    small.update(number(1), number(2))
    small.pin(bpffs / "small")
    small.close()

    with Map.pinned(bpffs / "small") as again:
        assert again.lookup(number(1)) == number(2)


def test_a_pin_that_is_not_there_is_an_error(bpffs: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Map.pinned(bpffs / "nothing")


def test_the_kernel_tells_size_and_memory(small: Map) -> None:
    assert small.info.type == MapType.HASH
    assert (small.info.key_size, small.info.value_size, small.info.max_entries) == (4, 4, 10)
    assert small.memory_bytes > 10 * 8


def test_a_loaded_map_knows_its_own_layout(compile_c: Callable[[str], bytes]) -> None:
    with BpfObject(compile_c(TYPED), "test") as opened:
        opened.load()
        typed = Map(opened.maps["typed"].fd())
    record: Record = {"addr": IPv4Address("10.0.0.1"), "port": 80}

    with typed:
        key, value = typed.codecs()
        typed.update(key.encode(record), value.encode({"packets": 5}))
        entries = [(key.decode(k), value.decode(v)) for k, v in typed.items()]

    assert entries == [(record, {"packets": 5})]


def test_a_map_without_types_has_no_layout(small: Map) -> None:
    with pytest.raises(ValueError, match="without types"):
        small.layouts()
