"""iptables and nftables rules for many services, shaped as kube-proxy writes them.

Source: kubernetes 1.33, pkg/proxy/iptables and pkg/proxy/nftables: the same chains, maps and
order; services with a ClusterIP, and perhaps a NodePort.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

PODS = "10.244.0.0/16"


@dataclass(frozen=True, slots=True, kw_only=True)
class Balanced:
    """A service's address on port 80, and its backends on port 8080; 0: it has no node port."""

    number: int
    address: IPv4Address
    backends: Sequence[IPv4Address]
    node_port: int = 0


def iptables(services: Iterable[Balanced]) -> str:
    """Input of iptables-restore."""
    chains: list[str] = []
    portals: list[str] = []
    rules: list[str] = []
    for service in services:
        chains += _iptables_chains(service)
        portals.append(
            f"-A KUBE-SERVICES -d {service.address}/32 -p tcp -m comment --comment "
            f'"bench/service-{service.number}:http cluster IP" -m tcp --dport 80 '
            f"-j KUBE-SVC-{service.number}"
        )
        rules += _iptables_rules(service)
        if service.node_port:
            chains.append(f":KUBE-EXT-{service.number} - [0:0]")
            rules += _iptables_node_port(service)
    return "\n".join(
        (
            *_IPTABLES_FILTER,
            *_IPTABLES_CHAINS,
            *chains,
            *_IPTABLES_NAT,
            *rules,
            *portals,
            "-A KUBE-SERVICES -m comment --comment "
            '"kubernetes service nodeports; NOTE: this must be the last rule in this chain" '
            "-m addrtype --dst-type LOCAL -j KUBE-NODEPORTS",
            "COMMIT",
            "",
        )
    )


_IPTABLES_FILTER = (
    "*filter",
    ":KUBE-FORWARD - [0:0]",
    ":KUBE-SERVICES - [0:0]",
    ":KUBE-EXTERNAL-SERVICES - [0:0]",
    ":KUBE-FIREWALL - [0:0]",
    "-A INPUT -m conntrack --ctstate NEW -j KUBE-EXTERNAL-SERVICES",
    "-A INPUT -j KUBE-FIREWALL",
    "-A FORWARD -m conntrack --ctstate NEW -j KUBE-SERVICES",
    "-A FORWARD -m conntrack --ctstate NEW -j KUBE-EXTERNAL-SERVICES",
    "-A FORWARD -j KUBE-FORWARD",
    "-A OUTPUT -m conntrack --ctstate NEW -j KUBE-SERVICES",
    "-A OUTPUT -j KUBE-FIREWALL",
    "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP",
    "-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT",
    "-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    "COMMIT",
)

_IPTABLES_CHAINS = (
    "*nat",
    ":KUBE-SERVICES - [0:0]",
    ":KUBE-NODEPORTS - [0:0]",
    ":KUBE-POSTROUTING - [0:0]",
    ":KUBE-MARK-MASQ - [0:0]",
)

_IPTABLES_NAT = (
    "-A PREROUTING -j KUBE-SERVICES",
    "-A OUTPUT -j KUBE-SERVICES",
    "-A POSTROUTING -j KUBE-POSTROUTING",
    "-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000",
    "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN",
    "-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000",
    "-A KUBE-POSTROUTING -j MASQUERADE --random-fully",
)


def _iptables_chains(service: Balanced) -> Iterator[str]:
    yield f":KUBE-SVC-{service.number} - [0:0]"
    for index in range(len(service.backends)):
        yield f":KUBE-SEP-{service.number}-{index} - [0:0]"


def _iptables_rules(service: Balanced) -> Iterator[str]:
    chain = f"-A KUBE-SVC-{service.number}"
    yield (
        f"{chain} ! -s {PODS} -d {service.address}/32 -p tcp -m tcp --dport 80 -j KUBE-MARK-MASQ"
    )
    count = len(service.backends)
    for index, backend in enumerate(service.backends):
        share = (
            f" -m statistic --mode random --probability {1 / (count - index):.10f}"
            if index < count - 1
            else ""
        )
        endpoint = f"KUBE-SEP-{service.number}-{index}"
        yield f"{chain}{share} -j {endpoint}"
        yield f"-A {endpoint} -s {backend}/32 -j KUBE-MARK-MASQ"
        yield f"-A {endpoint} -p tcp -m tcp -j DNAT --to-destination {backend}:8080"


def _iptables_node_port(service: Balanced) -> Iterator[str]:
    comment = f'-m comment --comment "bench/service-{service.number}:http"'
    external = f"KUBE-EXT-{service.number}"
    yield (f"-A KUBE-NODEPORTS -p tcp {comment} -m tcp --dport {service.node_port} -j {external}")
    yield f"-A {external} {comment} -j KUBE-MARK-MASQ"
    yield f"-A {external} -j KUBE-SVC-{service.number}"


def nftables(services: Iterable[Balanced], node: IPv4Address) -> str:
    """Input of nft -f; node ports are at the address `node`."""
    chains: list[str] = []
    elements: list[str] = []
    node_ports: list[str] = []
    for service in services:
        chains += _nftables_chains(service)
        elements.append(f"{service.address} . tcp . 80 : goto service-{service.number}")
        if service.node_port:
            node_ports.append(f"tcp . {service.node_port} : goto external-{service.number}")
            chains.append(
                f"chain external-{service.number} {{ jump mark-for-masquerade; "
                f"goto service-{service.number}; }}"
            )
    return "\n".join(
        (
            "flush ruleset",
            "table ip kube-proxy {",
            *_NFTABLES_MAPS,
            *chains,
            "map service-ips {",
            "type ipv4_addr . inet_proto . inet_service : verdict",
            f"elements = {{ {', '.join(elements)} }}",
            "}",
            "map service-nodeports {",
            "type inet_proto . inet_service : verdict",
            f"elements = {{ {', '.join(node_ports)} }}",
            "}",
            f"set nodeport-ips {{ type ipv4_addr; elements = {{ {node} }} }}",
            *_NFTABLES_CHAINS,
            "}",
            "",
        )
    )


_NFTABLES_MAPS = (
    "map no-endpoint-services { type ipv4_addr . inet_proto . inet_service : verdict; }",
    "map firewall-ips { type ipv4_addr . inet_proto . inet_service : verdict; }",
    "chain mark-for-masquerade { meta mark set meta mark or 0x4000; }",
)

_NFTABLES_CHAINS = (
    "chain services { ip daddr . meta l4proto . th dport vmap @service-ips;"
    " ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports; }",
    "chain service-endpoints-check"
    " { ip daddr . meta l4proto . th dport vmap @no-endpoint-services; }",
    "chain firewall-check { ip daddr . meta l4proto . th dport vmap @firewall-ips; }",
    "chain filter-prerouting-pre-dnat { type filter hook prerouting priority -110;"
    " ct state new jump firewall-check; }",
    "chain filter-forward { type filter hook forward priority -110;"
    " ct state new jump service-endpoints-check; }",
    "chain nat-prerouting { type nat hook prerouting priority -100; jump services; }",
    "chain nat-output { type nat hook output priority -100; jump services; }",
    "chain masquerading { meta mark and 0x4000 == 0 return;"
    " meta mark set meta mark xor 0x4000; masquerade fully-random; }",
    "chain nat-postrouting { type nat hook postrouting priority 100; jump masquerading; }",
)


def _nftables_chains(service: Balanced) -> Iterator[str]:
    for index, backend in enumerate(service.backends):
        yield (
            f"chain endpoint-{service.number}-{index} {{ ip saddr {backend} "
            f"jump mark-for-masquerade; meta l4proto tcp dnat to {backend}:8080; }}"
        )
    choices = ", ".join(
        f"{index} : goto endpoint-{service.number}-{index}"
        for index in range(len(service.backends))
    )
    yield (
        f"chain service-{service.number} {{ ip daddr {service.address} tcp dport 80 "
        f"ip saddr != {PODS} jump mark-for-masquerade; "
        f"numgen random mod {len(service.backends)} vmap {{ {choices} }}; }}"
    )
