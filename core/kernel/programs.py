"""Runs loaded programs on packets of the caller's, without a device."""

import struct
from dataclasses import dataclass

from plait.core.kernel import libbpf

# mark, priority, ingress_ifindex and ifindex of struct __sk_buff; what comes after them is zero.
_SKB = struct.Struct("=8xI20xIII")
_LOOPBACK = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Skb:
    """What a packet has besides its bytes.

    `ifindex` is the device that it is on, and must exist in the calling thread's namespace.
    """

    mark: int = 0
    priority: int = 0
    ingress_ifindex: int = 0
    ifindex: int = _LOOPBACK


@dataclass(frozen=True, slots=True, kw_only=True)
class TestRun:
    """What came of it: the program's return value, the frame and its mark, nanoseconds per run."""

    __test__ = False  # not a test, whatever pytest makes of its name

    retval: int
    packet: bytes
    mark: int
    ns: int


DEFAULT_SKB = Skb()


def test_run(fd: int, packet: bytes, *, repeat: int = 1, skb: Skb = DEFAULT_SKB) -> TestRun:
    """Run a tc program on an Ethernet frame `repeat` times; maps change as in earnest.

    With `repeat` above 1 the program sees the frame as its previous run left it. OSError EINVAL
    for a frame shorter than 14 bytes, ENODEV for a device that is not there.
    """
    context = _SKB.pack(skb.mark, skb.priority, skb.ingress_ifindex, skb.ifindex)
    run = libbpf.program_run(fd, data=packet, context=context, repeat=repeat)
    mark, *_ = _SKB.unpack_from(run.context)
    return TestRun(retval=run.value, packet=run.data, mark=mark, ns=run.ns)
