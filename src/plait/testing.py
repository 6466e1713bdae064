"""What plugin authors test with; `plait.core.testing.plugin` has the fixtures."""

from plait.core.runtime.flows import Ends, Flow
from plait.core.testing.addresses import IPV4, IPV6, Addresses
from plait.core.testing.datapath import Datapath, Pod, Result
from plait.core.testing.objects import backends, service
from plait.core.testing.packets import (
    SENDER,
    Frame,
    IcmpError,
    Link,
    answer,
    changed,
    fragments,
    icmp_echo,
    icmp_error,
    sctp,
    tcp,
    tcp_reset,
    udp,
    with_extensions,
    with_ipv4_options,
)
from plait.core.testing.plugin import MakeDatapath

__all__ = [
    "IPV4",
    "IPV6",
    "SENDER",
    "Addresses",
    "Datapath",
    "Ends",
    "Flow",
    "Frame",
    "IcmpError",
    "Link",
    "MakeDatapath",
    "Pod",
    "Result",
    "answer",
    "backends",
    "changed",
    "fragments",
    "icmp_echo",
    "icmp_error",
    "sctp",
    "service",
    "tcp",
    "tcp_reset",
    "udp",
    "with_extensions",
    "with_ipv4_options",
]
