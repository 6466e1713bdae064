"""Flows: the entries of the flow tables as a person reads them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import cast

from plait.codegen.btf import Btf, Enum, parse_btf
from plait.codegen.codec import Codec
from plait.codegen.layout import member
from plait.core.api.contract import Record
from plait.core.kernel import info as kernel_info
from plait.core.kernel.maps import Map
from plait.core.objects.model import Address
from plait.core.plan.core import FLOWS

_NEIGH = "NEIGH"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """Addresses and ports of a packet; an echo's identifier is both of its ports."""

    src: Address
    dst: Address
    sport: int
    dport: int

    @property
    def back(self) -> "Ends":
        """Those of the answer."""
        return Ends(src=self.dst, dst=self.src, sport=self.dport, dport=self.sport)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One direction of a connection.

    `zone` is the index of the interface that its packets come from (0: from outside), `key` what
    they say when they come, `to` what they say when they leave. `action`, `state` and `flags` are
    named as in plait_flow.h, without the prefix. `oif` is the index of the device that they leave
    by, `next_hop` the address there (action NEIGH), `parts` what the plugins know of the flow.
    """

    proto: int
    zone: int
    key: Ends
    to: Ends
    action: str
    state: str
    flags: frozenset[str]
    oif: int
    next_hop: Address | None
    mtu: int
    packets: int
    bytes: int
    seen: int
    parts: Record

    @property
    def is_reply(self) -> bool:
        """True for the direction that answers."""
        return "REPLY" in self.flags


def read_flows(maps: Mapping[str, Map]) -> Iterator[Flow]:
    """Every flow of the tables among `maps`, in no order."""
    for name in FLOWS.values():
        if name in maps:
            table = FlowTable(maps[name])
            for key, value in maps[name].items():
                yield table.decode(key, value)


class FlowTable:
    """Reads the entries of one family's flow table by the types that the kernel has of it."""

    def __init__(self, table: Map) -> None:
        types = parse_btf(kernel_info.btf_bytes(table.info.btf_id))
        self._key, self._value = table.codecs()
        self._next_hop = _next_hop_codec(self._value)
        self._actions = _names(types, "plait_action", "PLAIT_ACTION_")
        self._states = _names(types, "plait_state", "PLAIT_STATE_")
        self._flags = _names(types, "plait_flow_flag", "PLAIT_FLOW_")

    def decode(self, key: bytes, value: bytes) -> Flow:
        """The flow that an entry holds."""
        keyed, entry = self._key.decode(key), self._value.decode(value)
        flow = cast(Record, entry["flow"])
        action = self._actions[_int(flow, "action")]
        flags = _int(flow, "flags")
        return Flow(
            proto=_int(keyed, "zone_proto") & 0xFF,
            zone=_int(keyed, "zone_proto") >> 8,
            key=_ends(keyed),
            to=_ends(cast(Record, entry["to"])),
            action=action,
            state=self._states[_int(flow, "state")],
            flags=frozenset(name for bit, name in self._flags.items() if flags & bit),
            oif=_int(flow, "oif"),
            next_hop=self._read_next_hop(value) if action == _NEIGH else None,
            mtu=_int(flow, "mtu"),
            packets=_int(flow, "packets"),
            bytes=_int(flow, "bytes"),
            seen=_int(flow, "seen"),
            parts=cast(Record, entry["parts"]),
        )

    def _read_next_hop(self, value: bytes) -> Address:
        offset, codec = self._next_hop
        record = codec.decode(value[offset : offset + codec.size])
        return _address(record, "addr" if "addr" in record else "value")


def _next_hop_codec(value: Codec) -> tuple[int, Codec]:
    """Where the next hop is in an entry. A codec reads of a union only the first member."""
    via = member(value.layout, "via")
    return via.offset, Codec(member(via.layout, "nexthop").layout)


def _names(types: Btf, enum: str, prefix: str) -> dict[int, str]:
    found = types.resolve(types.find(enum) or 0)
    values = found.values if isinstance(found, Enum) else ()
    return {value: name.removeprefix(prefix) for name, value in values}


def _ends(record: Record) -> Ends:
    return Ends(
        src=_address(record, "saddr"),
        dst=_address(record, "daddr"),
        sport=_int(record, "sport"),
        dport=_int(record, "dport"),
    )


def _int(record: Record, name: str) -> int:
    return cast(int, record[name])


def _address(record: Record, name: str) -> Address:
    return cast(IPv4Address | IPv6Address, record[name])
