"""Whose the addresses are that are asked: a Service's, or the node's."""

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from plait.core.api import Address, Entry, Host, Object, Service
from plait.plugins.lb.config import LbConfig
from plait.plugins.lb.frontends import addresses_of

LOOPBACK: tuple[Address, ...] = (IPv4Address("127.0.0.1"), IPv6Address("::1"))
"""Of the node, too; only its own processes ask them."""


def address_scopes(each: Object) -> tuple[str, ...]:
    """Each address by itself: a Service and the node may have the same."""
    match each:
        case Service():
            return tuple(map(str, addresses_of(each)))
        case Host(addresses=addresses):
            return tuple(map(str, (*addresses, *LOOPBACK)))
    return ()


class AddressBook:
    """Whose an address is: what the balancer does not serve there is refused, or is the node's."""

    def __init__(self, config: LbConfig) -> None:
        self._chosen = config.node_ports.addresses

    def wanted(self, scope: str, objects: Sequence[Object]) -> Iterator[Entry]:
        """The entry of one address."""
        address = ip_address(scope)
        chosen = not self._chosen or any(address in network for network in self._chosen)
        node = any(isinstance(each, Host) for each in objects)
        yield Entry(
            map="lb_addresses",
            key={"addr": address},
            value={
                "node": node,
                "chosen": node and chosen,
            },
            touches=(address,),
        )
