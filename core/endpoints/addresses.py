"""Which addresses a new endpoint gets: those it is given, those it had, or the next free ones."""

from collections.abc import Iterator, Sequence, Set
from ipaddress import IPv4Network, IPv6Network
from itertools import islice

from plait.core.errors import PlaitError
from plait.core.objects.model import Address, Endpoint

Network = IPv4Network | IPv6Network


def choose(
    name: str,
    given: Sequence[Address],
    networks: Sequence[Network],
    endpoints: Sequence[Endpoint],
    own: Set[Address] = frozenset(),
) -> tuple[Address, ...]:
    """The addresses of the endpoint `name`, next to `endpoints` that are there already, and to the
    node's `own` addresses.

    Of each of `networks` it is the lowest free one; the network's own and the first, which by
    custom is a gateway's, are left out. Raises `PlaitError` when there is none to choose, or
    another endpoint or the node has one that is given.
    """
    owners = {
        address: endpoint.meta.name
        for endpoint in endpoints
        for address in endpoint.addresses
        if endpoint.meta.name != name
    }
    for address in given:
        if address in owners:
            raise PlaitError(f"endpoint {owners[address]} has the address {address}")
        if address in own:
            raise PlaitError(f"this node itself has the address {address}")
    if given:
        return tuple(given)
    had = [endpoint.addresses for endpoint in endpoints if endpoint.meta.name == name]
    if had:
        return had[0]
    if not networks:
        raise PlaitError(
            "there is no network to choose an address from",
            expected="expected node.podCIDRs in the config, or --ip",
        )
    return tuple(_lowest_free(network, owners.keys() | own) for network in networks)


def _lowest_free(network: Network, taken: Set[Address]) -> Address:
    hosts: Iterator[Address] = network.hosts()
    for address in islice(hosts, 1, None):
        if address not in taken:
            return address
    raise PlaitError(
        f"{network} has no free address left",
        hint="add a network to node.podCIDRs, or remove endpoints: plait endpoint list",
    )
