"""Addresses for tests, the same roles in both families."""

from dataclasses import dataclass
from ipaddress import ip_address

from plait.core.objects.model import Address
from plait.core.testing.network import GATEWAY, NODE


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Who is who: pods of this node, a service, and who is elsewhere."""

    version: int
    client: Address
    server: Address
    other_server: Address
    service: Address
    remote: Address
    node: Address
    gateway: Address

    @property
    def header_bytes(self) -> int:
        """The length of an IP header without options."""
        return 20 if self.version == 4 else 40


def _addresses(version: int, pods: str, services: str, remote: str) -> Addresses:
    return Addresses(
        version=version,
        client=ip_address(f"{pods}10"),
        server=ip_address(f"{pods}20"),
        other_server=ip_address(f"{pods}21"),
        service=ip_address(f"{services}1"),
        remote=ip_address(remote),
        node=NODE[version],
        gateway=GATEWAY[version],
    )


IPV4 = _addresses(4, "10.244.1.", "10.96.0.", "198.51.100.7")
IPV6 = _addresses(6, "fd00:10:244:1::", "fd00:10:96::", "2001:db8:7::7")
