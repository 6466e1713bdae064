"""A lab's topology: hosts, the wires between them, and the pods on them; read from YAML."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Interface,
    IPv4Network,
    IPv6Interface,
    IPv6Network,
    ip_interface,
    ip_network,
)
from pathlib import Path
from typing import TypeVar

from plait.core.config.yaml import DataPath, load, locate, read_text
from plait.core.errors import PlaitError, raise_all
from plait.core.objects.document import Fault, Field
from plait.core.objects.model import Address

API_VERSION = "plait/v1"
KIND = "Lab"

Interface = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network
T = TypeVar("T")

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?")
_NAME_WORDS = "lower-case letters, digits and '-', 32 at most"
_UPLINK = re.compile(r"eth[1-9]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A route of a host: `to` a network `via` a next hop."""

    to: Network
    via: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A workload. One that is `plain` has no Endpoint object: Plait is not told of it."""

    name: str
    addresses: tuple[Address, ...]
    labels: Mapping[str, str]
    plain: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A machine. `uplinks` holds the addresses of eth0, eth1 ..., one for each of its wires."""

    name: str
    uplinks: Mapping[str, tuple[Interface, ...]]
    routes: tuple[Route, ...]
    pods: tuple[Pod, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """A whole lab. Each wire is a segment that joins the hosts named; names are unique."""

    name: str
    hosts: tuple[Host, ...]
    wires: tuple[tuple[str, ...], ...]


def load_topology(file: Path) -> Topology:
    """Read the topology in `file`. Raises `PlaitError`, or `Problems` when there are several."""
    return parse_topology(read_text(file), file)


def parse_topology(text: str, file: Path) -> Topology:
    """The topology in `text`, which stands in `file`. Raises like `load_topology`."""
    faults: dict[DataPath, Fault] = {}
    document = Field(load(text, file), faults)
    topology = _topology(document)
    problems = [(locate(text, file, each.path, key=each.key), each) for each in faults.values()]
    raise_all(
        PlaitError(fault.what, at=at, expected=fault.expected, hint=fault.hint)
        for at, fault in sorted(problems, key=lambda each: (each[0].line, each[0].column))
    )
    return topology


def _topology(document: Field) -> Topology:
    document.only("apiVersion", "kind", "name", "hosts", "wires")
    document["apiVersion"].choice((API_VERSION,))
    document["kind"].choice((KIND,))
    if not document["hosts"].value:
        document["hosts"].refuse("hosts is missing", "expected a mapping of host names to hosts")
    hosts = tuple(_host(name, field) for name, field in _named(document["hosts"]))
    names = tuple(host.name for host in hosts)
    topology = Topology(
        name=document["name"].text(pattern=_NAME, words=_NAME_WORDS),
        hosts=hosts,
        wires=tuple(_wire(field, names) for field in document["wires"]) or (names,),
    )
    _refuse_unwired(document, topology)
    _refuse_twins(document, topology)
    return topology


def _host(name: str, field: Field) -> Host:
    field.only("addresses", "interfaces", "routes", "pods")
    uplinks = {"eth0": tuple(_parsed(field["addresses"], ip_interface, "192.0.2.1/24"))}
    for device, addresses in _named(field["interfaces"], _UPLINK, "eth1 to eth9"):
        uplinks[device] = tuple(_parsed(addresses, ip_interface, "192.0.2.1/24"))
    own = tuple(address for addresses in uplinks.values() for address in addresses)
    return Host(
        name=name,
        uplinks=uplinks,
        routes=tuple(route for each in field["routes"] if (route := _route(each, own))),
        pods=tuple(_pod(pod, each) for pod, each in _named(field["pods"])),
    )


def _route(field: Field, own: Sequence[Interface]) -> Route | None:
    """A route of a host with these addresses; the next hop is in the network of one of them."""
    field.only("to", "via")
    to = _parse(field["to"], ip_network, "10.244.2.0/24")
    via = field["via"].address()
    if not (to and via):
        return None
    near = [each for each in own if each.version == to.version]
    if not any(via in each.network and via != each.ip for each in near):
        places = " or ".join(str(each.network) for each in near)
        field["via"].refuse(
            f"the host cannot reach {to} via {via}",
            f"expected another host's IPv{to.version} address in {places}"
            if places
            else f"expected an IPv{to.version} address, and the host to have one in its network",
        )
    return Route(to=to, via=via)


def _pod(name: str, field: Field) -> Pod:
    field.only("addresses", "labels", "plain")
    field["addresses"].require("a list of IP addresses")
    addresses = [each.host() for each in field["addresses"]]
    return Pod(
        name=name,
        addresses=tuple(address for address in addresses if address),
        labels=field["labels"].strings(),
        plain=field["plain"].flag(False),
    )


def _wire(field: Field, hosts: tuple[str, ...]) -> tuple[str, ...]:
    ends = [str(end.value) for end in field]
    if not ends or len(set(ends)) < len(ends):
        field.refuse(f"{field.name} joins {ends or 'nothing'}", "expected hosts, each once")
    return tuple(end.choice(hosts) for end in field) if hosts else ()


def _refuse_unwired(document: Field, topology: Topology) -> None:
    """An uplink needs a wire."""
    wires = Counter(host for wire in topology.wires for host in wire)
    for host in topology.hosts:
        for number, device in enumerate(sorted(host.uplinks)):
            if number >= wires[host.name] and host.uplinks[device]:
                document["hosts"][host.name].refuse(
                    f"{host.name} has addresses for {device}",
                    f"expected a wire for it; {wires[host.name]} lead to this host",
                )


def _refuse_twins(document: Field, topology: Topology) -> None:
    """One name, one workload; one address, one owner."""
    pods = [(host, pod) for host in topology.hosts for pod in host.pods]
    names = Counter([host.name for host in topology.hosts] + [pod.name for _, pod in pods])
    owners = Counter(address for _, pod in pods for address in pod.addresses)
    for host, pod in pods:
        field = document["hosts"][host.name]["pods"][pod.name]
        if names[pod.name] > 1:
            field.refuse(f"the name '{pod.name}' stands twice in this lab")
        for address in pod.addresses:
            if owners[address] > 1:
                field["addresses"].refuse(f"another pod has the address {address}, too")


def _named(
    field: Field, pattern: re.Pattern[str] = _NAME, words: str = _NAME_WORDS
) -> Iterator[tuple[str, Field]]:
    """The (key, value) pairs of a mapping whose keys are names."""
    if field.value is None:
        return
    if not isinstance(field.value, dict):
        field.refuse(f"{field.name} is not a mapping", "expected a mapping of names")
        return
    for name in field.value:
        if isinstance(name, str) and pattern.fullmatch(name):
            yield name, field[name]
        else:
            field[name].refuse(f"'{name}' is no name here", f"expected {words}")


def _parsed(field: Field, parse: Callable[[str], T], example: str) -> Iterator[T]:
    for each in field:
        value = _parse(each, parse, example)
        if value is not None:
            yield value


def _parse(field: Field, parse: Callable[[str], T], example: str) -> T | None:
    try:
        return parse(field.text(words=f"the like of {example}"))
    except ValueError as error:
        field.refuse(str(error), f"expected the like of {example}")
        return None
