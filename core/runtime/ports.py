"""Ports of masqueraded flows: how hard one is to find, told before there is none left."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from plait.core.kernel.maps import Map
from plait.core.objects.model import Address

_SINGLE = bytes(4)
"""The key of an array's one entry."""

SCARCE_TRIES = 12
"""A port that was found by so many tries is one of few: when half of all are taken, one flow in
4,000 needs so many, when four of five are, one in fifteen."""

_PROTOCOLS = {6: "TCP", 17: "UDP", 132: "SCTP"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PortUse:
    """Since the last look: flows that got a port and those that got none, and the most tries that
    one took, with whom it was to.
    """

    flows: int
    failed: int
    most: int
    address: Address
    port: int
    protocol: str

    @property
    def warning(self) -> str | None:
        """What is told of it; None while ports are easily found."""
        to = f"{self.protocol} port {self.port} of {self.address}"
        if self.failed:
            return f"{self.failed:,} flows, some to {to}, got no port to masquerade with: {_ADVICE}"
        if self.most >= SCARCE_TRIES:
            return f"ports to masquerade with are scarce for flows to {to}: {_ADVICE}"
        return None


_ADVICE = "widen node.masquerade, or add backends"


def take_use(uses: Map) -> PortUse:
    """What plait_port_uses has; it begins anew."""
    _, codec = uses.codecs()
    raw = uses.lookup(_SINGLE) or bytes(uses.info.value_size)
    uses.update(_SINGLE, bytes(uses.info.value_size))
    found = codec.decode(raw)
    address = found["addr"]
    assert isinstance(address, IPv4Address | IPv6Address)
    return PortUse(
        flows=_number(found["flows"]),
        failed=_number(found["failed"]),
        most=_number(found["most"]),
        address=address,
        port=_number(found["port"]),
        protocol=_PROTOCOLS.get(_number(found["proto"]), "other"),
    )


def _number(value: object) -> int:
    assert isinstance(value, int)
    return value
