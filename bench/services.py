"""Ten thousand services from YAML: time into the kernel, time of one change, memory."""

import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address
from itertools import cycle, islice
from pathlib import Path
from types import MappingProxyType

from bench.agent import Agent, Place, agent, quickstart, wait_until
from bench.figures import Figure, Run, Suite

COUNT = 10_000
CHANGED = 5_000
"""The service that is edited."""

SERVICES, BACKENDS = IPv4Address("10.112.0.0"), IPv4Address("10.245.0.0")

OBJECTS = """\
apiVersion: v1
kind: Service
metadata: {{name: service-{number}, namespace: bench}}
spec:
  type: {type}
  clusterIP: {service}
  ports:
  - {{name: http, port: 80, targetPort: 8080, protocol: TCP{node_port}}}
{slices}"""

SLICE = """\
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: service-{number}-{part}
  namespace: bench
  labels: {{kubernetes.io/service-name: service-{number}}}
addressType: IPv4
endpoints:
{endpoints}
ports:
- {{name: http, port: 8080, protocol: TCP}}
"""

SLICE_MOST = 100
"""Endpoints in a slice: as many as Kubernetes puts into one."""

LAYOUTS: Mapping[str, int] = {"": 1, ".one_file": COUNT}
"""How the YAML is cut: services in a file. A file for each is how most people keep them."""


def measure(run: Run) -> Iterator[Figure]:
    """Both layouts, on a node whose programs are compiled and run already."""
    with quickstart("benchservices") as place:
        shutil.rmtree(place.objects)
        place.objects.mkdir()
        for layout, per_file in LAYOUTS.items():
            with agent(place):
                pass  # it ends, with what it has made, and with no service
            run.progress(f"{COUNT:,} services, {per_file:,} in a file")
            files = write_services(place.objects, range(COUNT), backends_of, per_file=per_file)
            with agent(place) as running:
                for figure in _figures(run, place, running, files[CHANGED // per_file]):
                    yield replace(figure, name=figure.name + layout)
            for file in files:
                file.unlink()


SUITE = Suite(
    prefixes=("services", "agent"),
    summary=f"{COUNT:,} services from YAML into the kernel, and one of them changed",
    measure=measure,
)


def backends_of(number: int) -> Sequence[IPv4Address]:
    """Three backends that no other service has."""
    return [BACKENDS + 3 * number + each for each in range(3)]


def write_services(
    folder: Path,
    numbers: Sequence[int],
    backends: Callable[[int], Sequence[IPv4Address]],
    *,
    per_file: int,
    node_ports: Mapping[int, int] = MappingProxyType({}),
) -> tuple[Path, ...]:
    """The YAML of services, each at SERVICES + its number, some at a node port, too; returns the
    files in their order.
    """
    files = []
    for at in range(0, len(numbers), per_file):
        file = folder / f"services-{at:05}.yaml"
        documents = (
            _yaml(each, backends(each), node_ports.get(each, 0))
            for each in numbers[at : at + per_file]
        )
        file.write_text("---\n".join(documents))
        files.append(file)
    return tuple(files)


def _yaml(number: int, backends: Sequence[IPv4Address], node_port: int) -> str:
    return OBJECTS.format(
        number=number,
        type="NodePort" if node_port else "ClusterIP",
        service=SERVICES + number,
        node_port=f", nodePort: {node_port}" if node_port else "",
        slices="".join(
            SLICE.format(
                number=number,
                part=part,
                endpoints="\n".join(
                    f"- addresses: [{end}]" for end in backends[part : part + SLICE_MOST]
                ),
            )
            for part in range(0, len(backends), SLICE_MOST)
        ),
    )


def _figures(run: Run, place: Place, running: Agent, file: Path) -> Iterator[Figure]:
    with place.map("lb_services") as services:
        entries = sum(chunk.count for chunk in services.chunks())
    if entries != COUNT:
        raise AssertionError(f"the kernel has {entries} services, not {COUNT}")
    yield Figure(name="services.load_10k_s", value=round(running.started_seconds, 2), unit="s")

    time.sleep(1)  # the agent looks once more at what it watches
    count = run.samples(usual=20, quick=5)
    samples = list(islice(_changes(place, file), count))
    change = round(statistics.median(samples), 1)
    yield Figure(name="services.change_one_ms", value=change, unit="ms")

    memory = running.memory_kb()
    yield Figure(name="agent.rss_mb", value=round(memory["Rss"] / 1024, 1), unit="MB")
    yield Figure(name="agent.pss_mb", value=round(memory["Pss"] / 1024, 1), unit="MB")


def _changes(place: Place, file: Path) -> Iterator[float]:
    """One backend less, then again one more: milliseconds until the kernel has it."""
    whole = file.read_text()
    gone = f"- addresses: [{backends_of(CHANGED)[-1]}]\n"
    if gone not in whole:
        raise AssertionError(f"{file.name} does not hold service {CHANGED}")
    with place.map("lb_services") as services:
        key_codec, value_codec = services.codecs()
        key = key_codec.encode({"addr": SERVICES + CHANGED, "port": 80, "proto": 6, "side": 0})

        def has(backends: int) -> bool:
            value = services.lookup(key)
            return value is not None and value_codec.decode(value)["count"] == backends

        for text, wanted in cycle(((whole.replace(gone, ""), 2), (whole, 3))):
            began = time.monotonic()
            file.write_text(text)
            yield (wait_until(partial(has, wanted)) - began) * 1000
            time.sleep(0.2)
