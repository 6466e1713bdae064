"""The section `lb` of the config."""

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network

from plait.core.api import setting


class Algorithm(StrEnum):
    """How a new flow chooses its backend."""

    MAGLEV = "maglev"
    RANDOM = "random"


class Removed(StrEnum):
    """What becomes of TCP connections to a backend that is gone."""

    DRAIN = "drain"
    RESET = "reset"


class Sockets(StrEnum):
    """Whose sockets talk to a backend from the start."""

    HOST = "host"
    ALL = "all"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePorts:
    """Ports of the node that lead to Services."""

    first: int = setting(30_000, doc="the lowest port that may be one", minimum=1, maximum=65535)
    last: int = setting(32_767, doc="the highest", minimum=1, maximum=65535)
    addresses: tuple[IPv4Network | IPv6Network, ...] = setting(
        (), doc="networks of those addresses of the node that have them; none: all of its addresses"
    )

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise ValueError(f"last {self.last} is below first {self.first}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """Sizes of the maps."""

    services: int = setting(
        10_000,
        doc="addresses, ports and protocols by which Services are reached",
        minimum=1,
        maximum=1_000_000,
    )
    backends: int = setting(
        100_000,
        doc="backends over all ports of Services that have more than six: others hold theirs",
        minimum=1,
        maximum=10_000_000,
    )
    ranges: int = setting(
        10_000,
        doc="networks of loadBalancerSourceRanges, over all ports of Services",
        minimum=1,
        maximum=1_000_000,
    )
    clients: int = setting(
        65_536,
        doc="clients of Services with sessionAffinity that are remembered; those that have not "
        "come for the longest time give way",
        minimum=1,
        maximum=10_000_000,
    )
    sockets: int = setting(
        65_536,
        doc="sockets that are told the address that they have asked, in place of the backend's; "
        "those that have not been used for the longest time are told the backend's",
        minimum=1,
        maximum=10_000_000,
    )
    growth: int = setting(
        4,
        doc="how many times these sizes a map may grow to when it is full; 1: none grows",
        minimum=1,
        maximum=64,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LbConfig:
    """Load balancing of Services."""

    algorithm: Algorithm = setting(
        Algorithm.MAGLEV,
        doc="how a new flow chooses its backend: `maglev` by a hash of the flow that all nodes "
        "share, so that few flows move when backends come and go; `random` evenly. A Service's "
        "annotation `lb.plait/algorithm` says otherwise",
    )
    table_size: int = setting(
        10_007,
        doc="slots of the Maglev tables of the largest Services: a prime, best 100 times as many "
        "as these have backends; smaller Services have smaller tables",
        minimum=3,
        maximum=65_521,
    )
    removed: Removed = setting(
        Removed.DRAIN,
        doc="what becomes of established TCP connections to a backend that is gone: `drain` leaves "
        "them to end by themselves, `reset` ends them with their next packet",
    )
    refuse: bool = setting(
        True,
        doc="a Service's address refuses what is asked of ports that it does not serve; else that "
        "is routed like any other",
    )
    sockets: Sockets = setting(
        Sockets.HOST,
        doc="sockets that turn to a backend when they connect or send, so that their packets need "
        "no translation: `host` those of the node's own network namespace, `all` those of pods, "
        "too, `none`. What does not is balanced by its packets, with the same result",
    )
    node_ports: NodePorts = setting(NodePorts(), doc="Services by the addresses of the node")
    capacity: Capacity = setting(Capacity(), doc="how much fits")

    def __post_init__(self) -> None:
        if any(self.table_size % factor == 0 for factor in range(2, int(self.table_size**0.5) + 1)):
            raise ValueError(f"tableSize {self.table_size} is no prime, such as 1021 or 10007 are")
