"""Revisions: telling flows that what they were decided from has changed."""

import struct
from collections.abc import Iterable
from ipaddress import IPv4Address

from plait.core.kernel.maps import Map
from plait.core.objects.model import Address

_WORDS = struct.Struct("=4I")
_COUNTER = struct.Struct("=I")
_MAPPED = bytes(10) + b"\xff\xff"


def slot_of(address: Address) -> int:
    """The slot of an address, 0 to 65535: what `plait_slot()` of plait_maps.h computes."""
    packed = address.packed
    words = _WORDS.unpack(_MAPPED + packed if isinstance(address, IPv4Address) else packed)
    folded: int = words[0] * 31 + words[1] * 17 + words[2] * 7 + words[3]
    return (folded * 0x9E3779B1 & 0xFFFFFFFF) >> 16


class Revisions:
    """The counters in the map plait_revs, written in place: the datapath sees them at once."""

    def __init__(self, counters: Map) -> None:
        self._memory = counters.memory()

    def bump_all(self) -> None:
        """Every flow decides again."""
        self._increment(0)

    def bump(self, addresses: Iterable[Address]) -> None:
        """The flows of these addresses decide again (and of those that share their slots)."""
        for slot in {slot_of(address) for address in addresses}:
            self._increment(1 + slot)

    def _increment(self, index: int) -> None:
        at = index * _COUNTER.size
        (value,) = _COUNTER.unpack_from(self._memory, at)
        _COUNTER.pack_into(self._memory, at, (value + 1) & 0xFFFFFFFF)
