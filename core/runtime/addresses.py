"""Which node this is, told to the datapath: its own addresses, its network namespace."""

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address

from plait.core.api.contract import FieldValue
from plait.core.endpoints import namespaces
from plait.core.kernel.maps import Map
from plait.core.objects.model import Address
from plait.core.plan.core import LOCALS, NODES

_DUMMY_ADDRESS = IPv4Address("192.0.0.8")
"""Of a router without an address of its own (RFC 7600, section 4.8)."""


def write(maps: Mapping[str, Map], own: Sequence[Address]) -> None:
    """Those by which this node speaks as a router, the first of each family, with the namespace of
    the calling thread; and all of them.

    Of more than the map has room for, the last are left out. A generation that an older Plait made
    may not know the map, or the namespace.
    """
    _, node = maps[NODES].codecs()
    fields, says = node.decode(bytes(node.size)), _node(own)
    maps[NODES].update(bytes(4), node.encode({name: says[name] for name in fields}))

    known = maps.get(LOCALS)
    if known is None:
        return
    key, value = known.codecs()
    wanted = [key.encode({"addr": each}) for each in own[: known.info.max_entries]]
    known.delete_many({each for each, _ in known.items()} - set(wanted))
    known.update_many((each, value.encode({"unused": 0})) for each in wanted)


def _node(own: Iterable[Address]) -> dict[str, FieldValue]:
    first: dict[int, Address] = {}
    for address in own:
        first.setdefault(address.version, address)
    return {
        "addr4": first.get(4, _DUMMY_ADDRESS),
        "addr6": first.get(6, IPv6Address(0)),  # then it does not speak
        "netns": namespaces.cookie(),
    }
