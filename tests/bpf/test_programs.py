"""Programs run on packets of the test's making."""

import os
from collections.abc import Callable, Iterator

import pytest

from plait.core.kernel import programs
from plait.core.kernel.bpfobject import BpfObject
from plait.core.kernel.programs import Skb

SOURCE = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tc") int classify(struct __sk_buff *skb)
{
	skb->mark += 1;
	bpf_skb_change_tail(skb, skb->len + 4, 0);
	bpf_skb_store_bytes(skb, 0, (char[]){ 0x42 }, 1, 0);
	return skb->ifindex * 100 + skb->ingress_ifindex * 10 + skb->priority;
}

char LICENSE[] SEC("license") = "GPL";
"""

LOOPBACK = 1


@pytest.fixture
def classify(compile_c: Callable[[str], bytes]) -> Iterator[int]:
    with BpfObject(compile_c(SOURCE), "test") as opened:
        opened.load()
        fd = opened.programs["classify"].fd()
    yield fd
    os.close(fd)


def test_a_program_sees_and_changes_the_packet(classify: int) -> None:
    packet = bytes(range(64))

    run = programs.test_run(classify, packet)

    assert run.packet == b"\x42" + packet[1:] + bytes(4)


def test_a_program_sees_and_changes_what_goes_with_the_packet(classify: int) -> None:
    skb = Skb(mark=7, priority=3, ingress_ifindex=2, ifindex=LOOPBACK)

    run = programs.test_run(classify, bytes(64), skb=skb)

    assert run.retval == 123
    assert run.mark == 8


def test_many_runs_are_timed(classify: int) -> None:
    assert 0 < programs.test_run(classify, bytes(64), repeat=10).ns < 1_000_000


def test_a_frame_without_a_header_is_refused(classify: int) -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        programs.test_run(classify, bytes(13))


def test_a_device_that_is_not_there_is_refused(classify: int) -> None:
    with pytest.raises(OSError, match="No such device"):
        programs.test_run(classify, bytes(64), skb=Skb(ifindex=999_999))
