"""How a workload joins the node and leaves it: its addresses, its cable, its object."""

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

from plait.core.endpoints import objects, veth
from plait.core.endpoints.addresses import Network, choose
from plait.core.endpoints.links import node_addresses
from plait.core.objects.model import Address, Endpoint, Meta


def join(
    name: str,
    *,
    netns: Path,
    folder: Path,
    addresses: Sequence[Address] = (),
    networks: Sequence[Network] = (),
    labels: Mapping[str, str] | None = None,
    mtu: int = 1500,
) -> Endpoint:
    """Make the veth pair into `netns` and write the Endpoint object to `folder`. Repeatable.

    Without `addresses` it keeps those it has, or gets a free one of each of `networks`. Raises
    `PlaitError`; what stood before is then still there.
    """
    own = frozenset(chain.from_iterable(node_addresses().values()))
    with objects.locked(folder):
        chosen = choose(name, addresses, networks, objects.read_all(folder), own)
        pair = veth.veth_of(name)
        endpoint = Endpoint(
            meta=Meta(name=name, labels=labels or {}),
            interface=pair.interface,
            addresses=chosen,
            mac=pair.pod_mac,
        )
        text = objects.render(endpoint)
        veth.create(name, netns=netns, addresses=chosen, mtu=mtu)
        objects.write(name, text, folder)
    return endpoint


def leave(name: str, *, folder: Path) -> None:
    """Remove the object, then the veth pair. Repeatable."""
    objects.remove(name, folder)
    veth.delete(name)
