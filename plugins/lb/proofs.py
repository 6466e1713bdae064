"""What the balancer must do before it meets live traffic: packets in, packets out."""

from ipaddress import IPv4Address, IPv6Address, ip_address

from plait.core.api import Entry, Hook, PacketTest, Record, Verdict, packets
from plait.plugins.lb.backends import FEW

CLIENT_IF = 1  # the loopback device: it exists everywhere
MAC, ROUTER = "02:00:00:00:00:aa", "02:00:00:00:00:bb"
PORT = {"port": 80, "proto": 6, "side": 0}


def proofs() -> tuple[PacketTest, ...]:
    """One backend is chosen, none is refused, other addresses are left alone; both families."""
    return (
        *_family(*map(ip_address, ("192.0.2.10", "198.51.100.1", "192.0.2.20"))),
        *_family(*map(ip_address, ("2001:db8::10", "2001:db8:1::1", "2001:db8::20"))),
    )


def _family(
    client: IPv4Address | IPv6Address,
    vip: IPv4Address | IPv6Address,
    backend: IPv4Address | IPv6Address,
) -> tuple[PacketTest, ...]:
    family = f"IPv{client.version}"
    pods = tuple(_endpoint(address) for address in (client, backend))
    return (
        PacketTest(
            name=f"lb: a {family} connection to a service goes to its backend",
            hook=Hook.POD_EGRESS,
            entries=(*pods, *_service(vip, backend)),
            packet=packets.tcp(src=client, dst=vip, dport=80),
            verdict=Verdict.REDIRECT,
            output=packets.tcp(
                src=client, dst=backend, dport=8080, ttl=63, src_mac=ROUTER, dst_mac=MAC
            ),
        ),
        PacketTest(
            name=f"lb: an {family} address that is no service is left alone",
            hook=Hook.POD_EGRESS,
            entries=pods,
            packet=packets.tcp(src=client, dst=backend, dport=80),
            verdict=Verdict.REDIRECT,
            output=packets.tcp(
                src=client, dst=backend, dport=80, ttl=63, src_mac=ROUTER, dst_mac=MAC
            ),
        ),
    )


def _endpoint(address: IPv4Address | IPv6Address) -> Entry:
    value: Record = {
        "ifindex": CLIENT_IF,
        "mtu": 1500,
        "mac": MAC,
        "host_mac": ROUTER,
        "direct": False,
    }
    return Entry(map="plait_endpoints", key={"addr": address}, value=value)


def _service(
    vip: IPv4Address | IPv6Address, backend: IPv4Address | IPv6Address
) -> tuple[Entry, ...]:
    few = ({"addr": backend, "port": 8080},)
    value: Record = {
        "id": 1,
        "count": len(few),
        "total": len(few),
        "version": 0,
        "affinity": 0,
        "table": 0,
        "algorithm": 0,
        "flags": 0,
        "seed": (0,) * FEW,
        "few": few,
    }
    return (Entry(map="lb_services", key={"addr": vip, **PORT}, value=value),)
