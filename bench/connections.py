"""Connections through a service: Plait, kube-proxy's iptables and nftables, plain forwarding.

Four hosts of one lab do the same in their own ways: a client pod and three servers, connected by
veth pairs. Their turns alternate, so that what else the machine does strikes all alike.
"""

import statistics
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.agent import Place, agent
from bench.figures import Figure, Run, Suite
from bench.rules import Balanced, iptables, nftables
from bench.services import SERVICES, write_services
from plait.codegen.compile import find_compiler
from plait.core.lab.lab import Lab
from plait.core.lab.topology import parse_topology

TOOL = Path(__file__).parent / "tools" / "connections.c"

COUNTS = (1, 1000, 10_000)
QUICK_COUNTS = (1, 1000)


class Way(StrEnum):
    """How a host forwards; also the host's name, and that of its pods with a suffix."""

    PLAIN = "plain"
    IPTABLES = "iptables"
    NFTABLES = "nftables"
    PLAIT = "plait"

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
class Turn:
    """Connections per second, and the median of a connect in microseconds."""

    rate: float
    median: float


def measure(run: Run) -> Iterator[Figure]:
    """For each number of services: the last one (what rules find last), then the first."""
    with TemporaryDirectory(prefix="plait-bench-") as scratch:
        folder = Path(scratch)
        tool = folder / "connections"
        subprocess.run([find_compiler(), "-O2", "-o", str(tool), str(TOOL)], check=True)
        with Lab.up(parse_topology(_topology(), TOOL), name="benchconn") as lab:
            for way in Way:
                for number in range(3):
                    server = lab.popen(f"{way}-{number}", str(tool), "serve", "8080")
                    if server.stdout:
                        server.stdout.readline()
            place = Place(lab=lab, folder=folder, host=Way.PLAIT)
            place.objects.mkdir()
            place.write_config()
            for count in QUICK_COUNTS if run.quick else COUNTS:
                yield from _with_services(run, place, tool, count)


SUITE = Suite(
    prefixes=("kubeproxy", "nftables", "plain", "connect_p50_us", "connections"),
    summary="connections through a service, beside kube-proxy's rules and plain forwarding",
    measure=measure,
)


def _with_services(run: Run, place: Place, tool: Path, count: int) -> Iterator[Figure]:
    run.progress(f"{count:,} services for everybody")
    for file in place.objects.iterdir():
        file.unlink()
    write_services(place.objects, range(count), lambda _: Way.PLAIT.servers, per_file=count)
    _load_rules(place, count)
    with ExitStack() as stack:
        stack.enter_context(agent(place))
        turns = _turns(run, place.lab, tool, count)
    for other, name in RATIOS.items():
        for which in ("last", "first"):
            ours = turns[Way.PLAIT, which]
            theirs = turns[other, which]
            suffix = "" if which == "last" else "_first"
            if count > 1 or which == "last":
                yield Figure(
                    name=f"{name}.connections_ratio_{count}{suffix}",
                    value=_ratio(ours, theirs),
                    unit="x",
                )
    for way in Way:
        medians = [turn.median for turn in turns[way, "last"]]
        rates = [turn.rate for turn in turns[way, "last"]]
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


def _turns(run: Run, lab: Lab, tool: Path, count: int) -> Mapping[tuple[Way, str], Sequence[Turn]]:
    """One turn after another, in rounds."""
    turns: dict[tuple[Way, str], list[Turn]] = {}
    rounds = run.samples(usual=5, quick=3)
    seconds = 0.5 if run.quick else 1.0
    for number in range(rounds):
        run.progress(f"connections with {count:,} services, round {number + 1} of {rounds}")
        for which, service in (("last", SERVICES + count - 1), ("first", SERVICES)):
            for way in Way:
                turn = _connect(lab, way, tool, service, seconds)
                turns.setdefault((way, which), []).append(turn)
    return turns


def _connect(lab: Lab, way: Way, tool: Path, service: IPv4Address, seconds: float) -> Turn:
    to = (str(way.servers[0]), "8080") if way is Way.PLAIN else (str(service), "80")
    run = lab.run(f"{way}-client", str(tool), "connect", *to, str(seconds))
    rate, median = (float(word) for word in run.stdout.split())
    return Turn(rate=rate, median=median)


def _ratio(ours: Sequence[Turn], theirs: Sequence[Turn]) -> float:
    """The median of the rounds' ratios."""
    return round(statistics.median(a.rate / b.rate for a, b in zip(ours, theirs, strict=True)), 2)


def _load_rules(place: Place, count: int) -> None:
    """Both tools put the new rules in the place of those before, as their input says."""
    for way, load, text in (
        (Way.IPTABLES, ("iptables-legacy-restore",), iptables),
        (Way.NFTABLES, ("nft", "-f"), nftables),
    ):
        file = place.folder / way
        file.write_text(text(_balanced(way, count)))
        place.lab.run(way, *load, str(file), timeout=120)


def _balanced(way: Way, count: int) -> Iterator[Balanced]:
    for number in range(count):
        yield Balanced(number=number, address=SERVICES + number, backends=way.servers)


def _topology() -> str:
    """A host for each way; only Plait is told of its pods."""
    lines = ["apiVersion: plait/v1", "kind: Lab", "name: bench", "hosts:"]
    for way in Way:
        plain = "" if way is Way.PLAIT else ", plain: true"
        lines += [f"  {way}:", "    pods:"]
        lines.append(f"      {way}-client: {{addresses: [{way.network + 10}]{plain}}}")
        lines += (
            f"      {way}-{number}: {{addresses: [{server}]{plain}}}"
            for number, server in enumerate(way.servers)
        )
    return "\n".join(lines)
