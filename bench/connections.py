"""Connections through a service: Plait, kube-proxy's iptables and nftables, plain forwarding.

Four hosts of one lab do the same in their own ways: a client pod and three servers, connected by
veth pairs, and one client outside that asks all of them. Their turns alternate, so that what else
the machine does strikes all alike.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.agent import Place, agent
from bench.asking import SERVER_PORT, SOURCE, Asking, Turn
from bench.figures import Figure, Run, Suite
from bench.rules import Balanced, iptables, nftables
from bench.services import SERVICES, write_services
from plait.core.lab.lab import Lab
from plait.core.lab.topology import parse_topology

COUNTS = (1, 100, 1000, 10_000, 30_000)
QUICK_COUNTS = (1, 1000)
WIRE = IPv4Address("192.0.2.0")
NODE_PORT = 30080
LOAD_SECONDS = 1200.0
"""nft takes minutes to put the rules of 30,000 services in the place of others."""


class Way(StrEnum):
    """How a host forwards; also the host's name, and that of its pods with a suffix."""

    PLAIN = "plain"
    IPTABLES = "iptables"
    NFTABLES = "nftables"
    PLAIT = "plait"

    @property
    def node(self) -> IPv4Address:
        """The host's own address."""
        return WIRE + 1 + list(Way).index(self)

    @property
    def network(self) -> IPv4Address:
        """Where the host's pods have their addresses from."""
        return IPv4Address("10.244.0.0") + 256 * list(Way).index(self)

    @property
    def servers(self) -> Sequence[IPv4Address]:
        return [self.network + 11 + each for each in range(3)]


RATIOS: Mapping[Way, str] = {
    Way.PLAIN: "plain",
    Way.IPTABLES: "kubeproxy",
    Way.NFTABLES: "nftables",
}
"""What figures call the ways that Plait is compared with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What is done: the tool's verb, from a pod or from outside, to the service numbered `which`
    (-1: the last one, which rules find last) by its own address or by a port of the node.
    """

    figure: str
    verb: str = "connect"
    which: int = -1
    outside: bool = False

    def client(self, way: Way) -> str:
        """The host or pod that asks."""
        return "outside" if self.outside else f"{way}-client"

    def target(self, way: Way, count: int) -> tuple[IPv4Address, int]:
        """Whom it asks; in the plain way the server itself."""
        if way is Way.PLAIN:
            return way.servers[0], SERVER_PORT
        if self.outside:
            return way.node, NODE_PORT
        return SERVICES + range(count)[self.which], 80


KINDS = (
    Kind(figure="connections_ratio_{}"),
    Kind(figure="connections_ratio_{}_first", which=0),
    Kind(figure="connections_ratio_{}_node_port", outside=True),
    Kind(figure="transactions_ratio_{}", verb="transact"),
    Kind(figure="transactions_ratio_{}_node_port", verb="transact", outside=True),
)
"""The last service has the node port."""


Turns = Mapping[tuple[Way, Kind], Sequence[Turn]]


def measure(run: Run) -> Iterator[Figure]:
    """All kinds, for each number of services."""
    with TemporaryDirectory(prefix="plait-bench-") as scratch:
        folder = Path(scratch)
        with Lab.up(parse_topology(_topology(), SOURCE), name="benchconn") as lab:
            asking = Asking.built(folder, lab)
            for way in Way:
                for number in range(3):
                    asking.serve(f"{way}-{number}")
            place = Place(lab=lab, folder=folder, host=Way.PLAIT)
            place.objects.mkdir()
            place.write_config(services=max(COUNTS) + 1)
            for count in QUICK_COUNTS if run.quick else COUNTS:
                yield from _with_services(run, place, asking, count)


SUITE = Suite(
    prefixes=("kubeproxy", "nftables", "plain", "connect_p50_us", "connections"),
    summary="connections through a service, beside kube-proxy's rules and plain forwarding",
    measure=measure,
)


def _with_services(run: Run, place: Place, asking: Asking, count: int) -> Iterator[Figure]:
    run.progress(f"{count:,} services for everybody")
    for file in place.objects.iterdir():
        file.unlink()
    write_services(
        place.objects,
        range(count),
        lambda _: Way.PLAIT.servers,
        per_file=count,
        node_ports={count - 1: NODE_PORT},
    )
    _load_rules(place, count)
    with ExitStack() as stack:
        stack.enter_context(agent(place))
        turns = _turns(run, asking, count)
    yield from _figures(turns, count)


def _figures(turns: Turns, count: int) -> Iterator[Figure]:
    for other, name in RATIOS.items():
        for kind in KINDS:
            ours, theirs = turns[Way.PLAIT, kind], turns[other, kind]
            full_name = f"{name}.{kind.figure.format(count)}"
            yield Figure(name=full_name, value=_ratio(ours, theirs), unit="x")
    for way in Way:
        medians = [turn.median for turn in turns[way, KINDS[0]]]
        rates = [turn.rate for turn in turns[way, KINDS[0]]]
        yield Figure(
            name=f"connect_p50_us.{way}_{count}",
            value=round(statistics.median(medians), 1),
            unit="µs",
        )
        yield Figure(
            name=f"connections.{way}_{count}",
            value=round(statistics.median(rates)),
            unit="1/s",
        )


def _turns(run: Run, asking: Asking, count: int) -> Turns:
    """One turn after another, in rounds."""
    turns: dict[tuple[Way, Kind], list[Turn]] = {}
    rounds = run.samples(usual=5, quick=3)
    seconds = 0.4 if run.quick else 0.8
    for number in range(rounds):
        run.progress(f"connections with {count:,} services, round {number + 1} of {rounds}")
        for kind in KINDS:
            for way in Way:
                address, port = kind.target(way, count)
                turn = asking.ask(kind.client(way), kind.verb, address, port, seconds)
                turns.setdefault((way, kind), []).append(turn)
    return turns


def _ratio(ours: Sequence[Turn], theirs: Sequence[Turn]) -> float:
    """The median of the rounds' ratios."""
    return round(statistics.median(a.rate / b.rate for a, b in zip(ours, theirs, strict=True)), 2)


def _load_rules(place: Place, count: int) -> None:
    """Both tools put the new rules in the place of those before, as their input says."""
    for way, load, text in (
        (Way.IPTABLES, ("iptables-legacy-restore",), iptables(_balanced(Way.IPTABLES, count))),
        (Way.NFTABLES, ("nft", "-f"), nftables(_balanced(Way.NFTABLES, count), Way.NFTABLES.node)),
    ):
        file = place.folder / way
        file.write_text(text)
        place.lab.run(way, *load, str(file), timeout=LOAD_SECONDS)


def _balanced(way: Way, count: int) -> Iterator[Balanced]:
    for number in range(count):
        yield Balanced(
            number=number,
            address=SERVICES + number,
            backends=way.servers,
            node_port=NODE_PORT if number == count - 1 else 0,
        )


def _topology() -> str:
    """A host for each way, and one outside; only Plait is told of its pods."""
    outside = WIRE + 9
    lines = ["apiVersion: plait/v1", "kind: Lab", "name: bench", "hosts:"]
    for way in Way:
        plain = "" if way is Way.PLAIT else ", plain: true"
        lines += [
            f"  {way}:",
            f"    addresses: [{way.node}/24]",
            f"    routes: [{{to: 0.0.0.0/0, via: {outside}}}]",
            "    pods:",
            f"      {way}-client: {{addresses: [{way.network + 10}]{plain}}}",
        ]
        lines += (
            f"      {way}-{number}: {{addresses: [{server}]{plain}}}"
            for number, server in enumerate(way.servers)
        )
    routes = ", ".join(f"{{to: {way.network}/24, via: {way.node}}}" for way in Way)
    lines += ["  outside:", f"    addresses: [{outside}/24]", f"    routes: [{routes}]"]
    return "\n".join(lines)
