"""Objects through libbpf: what can be changed before the load, and what a refusal says."""

import os
from collections.abc import Callable, Iterator

import pytest

from plait.core.kernel import info as kernel_info
from plait.core.kernel import libbpf, programs
from plait.core.kernel.bpfobject import BpfObject, VerifierRefused
from plait.core.kernel.maps import Map, MapType

SOURCE = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u32);
} entries SEC(".maps");

volatile const __u32 answer = 1;

SEC("tc") int classify(struct __sk_buff *skb)
{
	__u32 key = skb->mark;

	return answer + !!bpf_map_lookup_elem(&entries, &key);
}

SEC("tc") int broken(struct __sk_buff *skb)
{
	__u32 key = skb->mark;
	__u32 *value = bpf_map_lookup_elem(&entries, &key);

	return *value;
}

SEC("syscall") int twice(__u32 *number)
{
	*number *= 2;
	return 5;
}

char LICENSE[] SEC("license") = "GPL";
"""


@pytest.fixture
def opened(compile_c: Callable[[str], bytes]) -> Iterator[BpfObject]:
    with BpfObject(compile_c(SOURCE), "test") as made:
        yield made


def test_maps_and_programs_are_known_by_name(opened: BpfObject) -> None:
    assert opened.maps.keys() == {"entries", ".rodata"}
    assert opened.programs.keys() == {"classify", "broken", "twice"}


def test_a_refused_program_is_named_with_the_verifiers_log(opened: BpfObject) -> None:
    with pytest.raises(VerifierRefused) as refusal:
        opened.load()

    assert refusal.value.program == "broken"
    assert "R0 invalid mem access 'map_value_or_null'" in refusal.value.log


def test_a_map_is_made_as_large_as_wished(opened: BpfObject) -> None:
    opened.programs["broken"].leave_out()
    opened.maps["entries"].set_max_entries(1000)

    opened.load()

    with Map(opened.maps["entries"].fd()) as entries:
        assert entries.info.max_entries == 1000


def test_a_map_of_before_is_used_again(opened: BpfObject) -> None:
    with Map.create(
        map_type=MapType.HASH, name="entries", key_size=4, value_size=4, max_entries=8
    ) as old:
        opened.programs["broken"].leave_out()
        opened.maps["entries"].reuse(old.fd)

        opened.load()

        with Map(opened.maps["entries"].fd()) as entries:
            assert entries.info.id == old.info.id


def test_constants_are_set_before_the_load(opened: BpfObject) -> None:
    opened.programs["broken"].leave_out()
    before = opened.maps[".rodata"].initial_value()
    opened.maps[".rodata"].set_initial_value((41).to_bytes(4, "little"))

    opened.load()

    program = opened.programs["classify"].fd()
    run = programs.test_run(program, bytes(64))
    os.close(program)
    assert before == (1).to_bytes(4, "little")
    assert run.retval == 41


def test_a_syscall_program_is_called_with_a_context(opened: BpfObject) -> None:
    opened.programs["broken"].leave_out()
    opened.load()
    program = opened.programs["twice"].fd()

    result, context = libbpf.program_call(program, (21).to_bytes(4, "little"))

    os.close(program)
    assert (result, int.from_bytes(context, "little")) == (5, 42)


def test_a_loaded_program_tells_its_cost(opened: BpfObject) -> None:
    opened.programs["broken"].leave_out()
    opened.load()
    program = opened.programs["classify"].fd()

    info = kernel_info.program_info(program)

    os.close(program)
    assert info.name == "classify"
    assert 0 < info.verified <= 100
    assert 0 < info.instructions <= 100


def test_what_is_no_object_is_refused_with_a_reason() -> None:
    with pytest.raises(OSError, match="object 'test' cannot be opened"):
        BpfObject(b"not an object", "test")
