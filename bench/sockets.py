"""Connecting through the hooks of sockets: a service beside the backend itself, from the node."""

import statistics
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.agent import Place, agent
from bench.asking import SERVER_PORT, SOURCE, Asking
from bench.figures import Figure, Run, Suite
from bench.services import SERVICES, write_services
from plait.core.lab.lab import Lab
from plait.core.lab.topology import parse_topology

SECONDS = 0.3
COUNTS = (1, 10_000)
NODE = "node-a"
SERVER = IPv4Address("10.244.1.11")
TOPOLOGY = f"""\
apiVersion: plait/v1
kind: Lab
name: benchsock
hosts:
  {NODE}:
    addresses: [192.0.2.1/24]
    routes: [{{to: 0.0.0.0/0, via: 192.0.2.2}}]
    pods:
      server: {{addresses: [{SERVER}]}}
  outside:
    addresses: [192.0.2.2/24]
"""


def measure(run: Run) -> Iterator[Figure]:
    """A process of the node connects to a pod of it, by turns through a service and directly."""
    with TemporaryDirectory(prefix="plait-bench-") as scratch:
        folder = Path(scratch)
        with Lab.up(parse_topology(TOPOLOGY, SOURCE), name="benchsock") as lab:
            asking = Asking.built(folder, lab)
            asking.serve("server")
            place = Place(lab=lab, folder=folder, host=NODE)
            place.objects.mkdir()
            place.write_config()
            for count in COUNTS:
                for file in place.objects.iterdir():
                    file.unlink()
                write_services(place.objects, range(count), lambda _: [SERVER], per_file=count)
                with agent(place):
                    yield from _figures(run, asking, count)


SUITE = Suite(
    prefixes=("socket_lb",),
    summary="connect() to a service through the hooks of sockets, beside the backend itself",
    measure=measure,
)


def _figures(run: Run, asking: Asking, count: int) -> Iterator[Figure]:
    """Ratios of medians, each pair of turns by itself: what the machine does changes slowly."""
    rounds = run.samples(usual=21, quick=7)
    ratios, direct = [], []
    for number in range(rounds):
        run.progress(f"sockets with {count:,} services, round {number + 1} of {rounds}")
        through = asking.ask(NODE, "connect", SERVICES + count - 1, 80, SECONDS).median
        direct.append(asking.ask(NODE, "connect", SERVER, SERVER_PORT, SECONDS).median)
        ratios.append(through / direct[-1])
    suffix = "" if count == 1 else f"_{count}"
    ratio = round(statistics.median(ratios), 3)
    yield Figure(name=f"socket_lb.connect_ratio{suffix}", value=ratio, unit="x")
    if count == 1:
        yield Figure(
            name="socket_lb.direct_p50_us", value=round(statistics.median(direct), 1), unit="µs"
        )
