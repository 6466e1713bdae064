"""Who speaks to whom in the packet measurements: one node, pods on it and elsewhere, services."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from plait.core.api.contract import Verdict
from plait.core.objects.model import Address, Object
from plait.core.plan.core import FLOWS
from plait.core.testing.datapath import Datapath, Pod, Result
from plait.core.testing.objects import backends, service
from plait.core.testing.packets import Frame, tcp

PODS = {4: "10.244.1.", 6: "fd00:10:244:1::"}
FAR = {4: ip_address("10.244.2.11"), 6: ip_address("fd00:10:244:2::11")}
SERVICES = {4: "10.96.255.", 6: "fd00:10:96::"}
MANY = IPv4Address("10.112.0.0")
"""The first of many services: they have the addresses from here on."""

PORT, TARGET = 80, 8080


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """The packets of an established connection: as the client sends them, and the server."""

    request: Frame
    answer: Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Many:
    """Services with consecutive addresses, 3 backends each."""

    objects: Sequence[Object]
    first_address: Address


def services(count: int) -> Many:
    """So many services, of backends elsewhere."""
    objects: list[Object] = []
    for number in range(count):
        name = f"many-{number}"
        ends = [IPv4Address("10.245.0.0") + number * 3 + each for each in range(3)]
        objects += (service(name, MANY + number, port=PORT), backends(name, ends, port=TARGET))
    return Many(objects=objects, first_address=MANY)


class Nodes:
    """A node with a client and a server, and another server behind the uplink.

    Each server is behind a service of its own.
    """

    def __init__(self, datapath: Datapath) -> None:
        self.datapath = datapath
        self._client, self._server = self._pod("client", 10), self._pod("server", 20)
        self._ports = iter(range(40_000, 50_000))
        for far in (False, True):
            for version in (4, 6):
                name = f"{'far' if far else 'near'}-v{version}"
                end = FAR[version] if far else self._address(self._server, version)
                datapath.put(
                    service(name, self.service(version, far=far), port=PORT),
                    backends(name, [end], port=TARGET),
                )
        self.client = self._client.ifindex
        self.server = self._server.ifindex
        self.uplink = datapath.network.uplink.link.index

    @staticmethod
    def service(version: int, *, far: bool) -> IPv4Address | IPv6Address:
        """The service whose backend is on this node, or far away."""
        return ip_address(f"{SERVICES[version]}{2 if far else 1}")

    def request(self, version: int, to: Address, *, sport: int, flags: str) -> Frame:
        """A packet of the client's to a service."""
        source = self._address(self._client, version)
        return tcp(src=source, dst=to, sport=sport, dport=PORT, flags=flags)

    def converse(self, version: int, *, to_service: bool, far: bool) -> Conversation:
        """Open a connection, through the real programs, and answer in it."""
        backend = FAR[version] if far else self._address(self._server, version)
        dst, dport = (self.service(version, far=far), PORT) if to_service else (backend, TARGET)
        client, sport = self._address(self._client, version), next(self._ports)
        for flags, back in (("S", "SA"), ("A", "A")):
            request = tcp(src=client, dst=dst, sport=sport, dport=dport, flags=flags)
            answer = tcp(src=backend, dst=client, sport=TARGET, dport=sport, flags=back)
            _sent_on(self.datapath.pod_egress(request))
            _sent_on(self._answer(answer, far=far))
        return Conversation(request=request, answer=answer)

    def clear_flows(self) -> None:
        """Forget every flow."""
        for name in FLOWS.values():
            table = self.datapath.maps[name]
            for chunk in list(table.chunks()):
                size = table.info.key_size
                table.delete_many(
                    chunk.keys[at : at + size] for at in range(0, len(chunk.keys), size)
                )

    def check_flows(self, expected: int) -> None:
        """Fail unless the flow tables have so many entries."""
        tables = (self.datapath.maps[name] for name in FLOWS.values())
        found = sum(chunk.count for table in tables for chunk in table.chunks())
        if found != expected:
            raise AssertionError(f"there are {found} flow entries, not {expected}")

    def _answer(self, answer: Frame, *, far: bool) -> Result:
        return self.datapath.netdev_ingress(answer) if far else self.datapath.pod_egress(answer)

    def _pod(self, name: str, number: int) -> Pod:
        addresses = (ip_address(f"{prefix}{number}") for prefix in PODS.values())
        return self.datapath.pod(name, *addresses)

    @staticmethod
    def _address(pod: Pod, version: int) -> Address:
        (found,) = (each for each in pod.endpoint.addresses if each.version == version)
        return found


def _sent_on(result: Result) -> None:
    if result.verdict is not Verdict.REDIRECT:
        raise AssertionError(f"{result.packet!r}: {result.verdict}, {result.drop_reason}")
