"""Revisions: telling flows that what they were decided from has changed."""

import struct
from collections.abc import Iterable
from ipaddress import IPv4Address

from plait.codegen.layout import member
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
    """What the map plait_revs holds, written in place: the datapath sees it at once."""

    def __init__(self, counters: Map) -> None:
        self._memory = counters.memory()
        _, layout = counters.layouts()
        self._all, self._handing_over, self._slots = (
            member(layout, name).offset for name in ("all", "handing_over", "slot")
        )

    def bump_all(self) -> None:
        """Every flow decides again."""
        self._increment(self._all)

    def bump(self, addresses: Iterable[Address]) -> None:
        """The flows of these addresses decide again (and of those that share their slots)."""
        for slot in {slot_of(address) for address in addresses}:
            self._increment(self._slots + slot * _COUNTER.size)

    def hand_over(self, *, begin: bool) -> None:
        """Flows that are opened or changed from now on are written down for another generation."""
        _COUNTER.pack_into(self._memory, self._handing_over, int(begin))

    def _increment(self, at: int) -> None:
        (value,) = _COUNTER.unpack_from(self._memory, at)
        _COUNTER.pack_into(self._memory, at, (value + 1) & 0xFFFFFFFF)
