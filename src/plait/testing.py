"""What plugin authors test with; the fixtures are in the pytest plugin `plait.core.testing.plugin`."""

from plait.core.runtime.flows import Ends, Flow
from plait.core.testing.datapath import Datapath, Pod, Result
from plait.core.testing.objects import backends, service
from plait.core.testing.packets import (
    Frame,
    IcmpError,
    Link,
    changed,
    fragments,
    icmp_echo,
    icmp_error,
    tcp,
    udp,
    with_extensions,
    with_ipv4_options,
)
from plait.core.testing.plugin import MakeDatapath

__all__ = [
    "Datapath",
    "Ends",
    "Flow",
    "Frame",
    "IcmpError",
    "Link",
    "MakeDatapath",
    "Pod",
    "Result",
    "backends",
    "changed",
    "fragments",
    "icmp_echo",
    "icmp_error",
    "service",
    "tcp",
    "udp",
    "with_extensions",
    "with_ipv4_options",
]
