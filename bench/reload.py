"""Reloads: how long from an edit until it is live, and what live traffic notices of it."""

import shutil
import socket
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from ipaddress import ip_address
from itertools import cycle, islice

from bench.agent import CONFIGS, FLOWS, OBJECTS, Place, agent, quickstart, wait_until
from bench.figures import Figure, Run, Suite
from plait.core.endpoints import namespaces
from plait.core.kernel.maps import Map
from plait.core.lab.running import Running, serve, start
from plait.core.lab.traffic.base import split_answer
from plait.core.lab.traffic.connect import Connected
from plait.core.lab.traffic.hold import Held
from plait.core.lab.traffic.stream import Streamed

SERVICE = ("10.96.0.10", 80)
SERVICE6 = "[fd00:10:96::10]:80"
CLIENT = "10.244.1.10:8080"
WEB = {"web-1": "10.244.1.11", "web-2": "10.244.1.12", "web-3": "10.244.2.11"}
CONNECTIONS = 200

Edit = Callable[[], float]
"""Makes an edit and waits until it is live; returns the milliseconds."""


def measure(run: Run) -> Iterator[Figure]:
    """Times first, on an idle node; then losses, under traffic."""
    with quickstart("benchreload") as place, ExitStack() as stack:
        for pod in (*WEB, "client"):
            serve(place.lab, pod)
        stack.enter_context(agent(place))
        yield from _times(run, place)
        yield from _losses(run, place)


SUITE = Suite(
    prefixes=("reload",),
    summary="from an edit until it is live, and what is lost meanwhile",
    measure=measure,
)


def _times(run: Run, place: Place) -> Iterator[Figure]:
    count = run.samples(usual=20, quick=5)
    with asking(place) as answered_by:
        samples = _repeat(run, "object edits", one_backend(place, answered_by), count)
    yield from _percentiles("reload.object", samples)
    write_backends(place, tuple(WEB))
    for name, edit in (("warm", warm(place)), ("cold", cold(place))):
        yield from _percentiles(f"reload.{name}", _repeat(run, f"{name} reloads", edit, count))


def _percentiles(name: str, samples: Sequence[float]) -> Iterator[Figure]:
    yield Figure(name=f"{name}.p50_ms", value=round(statistics.median(samples), 1), unit="ms")
    yield Figure(name=f"{name}.max_ms", value=round(max(samples), 1), unit="ms")


def _repeat(run: Run, what: str, edits: Iterator[Edit], count: int) -> list[float]:
    samples = []
    for number, edit in enumerate(islice(edits, count)):
        run.progress(f"{what}, {number + 1} of {count}")
        samples.append(edit())
        time.sleep(0.1)
    return samples


def _losses(run: Run, place: Place) -> Iterator[Figure]:
    """Connections that are open stay with web-1 and web-2, while web-3 comes and goes."""
    count = run.samples(usual=50, quick=5)
    kinds = {
        "object edits": third_backend(place),
        "warm reloads": warm(place),
        "cold reloads": cold(place),
        "migrations": migration(place),
    }
    write_backends(place, ("web-1", "web-2"))
    time.sleep(1)
    with traffic(place) as (streams, held, opener):
        for what, edits in kinds.items():
            _repeat(run, f"{what} under traffic", edits, count)
        streamed = [stream.stop() for stream in streams]
        holding, opened = held.stop(), opener.stop()
    sent = sum(each.sent for each in streamed)
    lost = sum(each.lost + each.foreign for each in streamed)
    reset = holding.reset + holding.failed + holding.corrupt
    gap = max(*(each.max_gap_ms for each in streamed), holding.longest_wait_ms)
    yield Figure(name="reload.count", value=count * len(kinds), unit="reloads")
    yield Figure(name="reload.packets", value=sent, unit="packets")
    yield Figure(name="reload.lost_packets", value=lost, unit="packets")
    yield Figure(name="reload.reset_connections", value=reset, unit="connections")
    yield Figure(name="reload.longest_silence_ms", value=gap, unit="ms")
    yield Figure(name="reload.new_connections", value=opened.connects, unit="connections")
    failed = sum(opened.errors.values())
    yield Figure(name="reload.failed_connections", value=failed, unit="connections")


# ---- edits ----


def one_backend(place: Place, answered_by: Callable[[], str]) -> Iterator[Edit]:
    """The service moves to another pod; live with the first answer from there."""

    def move(pod: str) -> float:
        began = time.monotonic()
        write_backends(place, [pod])
        return (wait_until(lambda: answered_by() == pod) - began) * 1000

    for pod in cycle(("web-2", "web-1")):
        yield partial(move, pod)


def third_backend(place: Place) -> Iterator[Edit]:
    """A backend that no open connection uses comes and goes; live when the map has it."""

    def edit(pods: Sequence[str]) -> float:
        with place.map("lb_services") as services:
            began = time.monotonic()
            write_backends(place, pods)
            return (wait_until(lambda: _counts(services) == {len(pods)}) - began) * 1000

    for pods in cycle((tuple(WEB), ("web-1", "web-2"))):
        yield partial(edit, pods)


def warm(place: Place) -> Iterator[Edit]:
    """A constant changes, and with it every program; the compiler has seen all of them before."""
    for removed in cycle(("reset", "drain")):
        yield partial(edit_config, place, removed=removed)


def cold(place: Place) -> Iterator[Edit]:
    """The same, with an empty cache."""

    def edit(removed: str) -> float:
        shutil.rmtree(place.cache)
        return edit_config(place, removed=removed)

    for removed in cycle(("reset", "drain")):
        yield partial(edit, removed)


def migration(place: Place) -> Iterator[Edit]:
    """The flow tables change their size, and the flows move."""
    for flows in cycle((200_000, 262_144)):
        yield partial(edit_config, place, flows=flows)


def edit_config(place: Place, *, flows: int = FLOWS, removed: str = "drain") -> float:
    """Write the config, and wait until the generation that it makes has taken over."""
    before = place.committed
    began = time.monotonic()
    place.write_config(flows=flows, removed=removed)
    return (wait_until(lambda: place.committed != before) - began) * 1000


def write_backends(place: Place, pods: Sequence[str]) -> None:
    """Give the service these backends in IPv4."""
    gone = [address for pod, address in WEB.items() if pod not in pods]
    web = CONFIGS / OBJECTS / "web.yaml"
    lines = web.read_text().splitlines(keepends=True)
    kept = [line for line in lines if not any(f"[{address}]" in line for address in gone)]
    (place.objects / web.name).write_text("".join(kept))


def _counts(services: Map) -> set[object]:
    """How many backends the service's ports have in IPv4."""
    key_codec, value_codec = services.codecs()
    return {
        value_codec.decode(value)["count"]
        for key, value in services.items()
        if key_codec.decode(key)["addr"] == ip_address(SERVICE[0])
    }


# ---- traffic ----


@contextmanager
def asking(place: Place) -> Iterator[Callable[[], str]]:
    """One flow from the client to the service: each call says which pod answers it now."""
    with (
        namespaces.entered(place.lab.pods["client"].netns),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker,
    ):
        asker.connect(SERVICE)
        asker.settimeout(0.02)

        def ask() -> str:
            asker.send(b"who")
            try:
                return split_answer(asker.recv(64))[0]
            except TimeoutError:
                return ""

        yield ask


@contextmanager
def traffic(
    place: Place,
) -> Iterator[tuple[Sequence[Running[Streamed]], Running[Held], Running[Connected]]]:
    """Numbered datagrams out of the node and into it, open connections, and ever new ones."""
    lab = place.lab
    streams = (
        start(lab, "client", Streamed, f"{SERVICE[0]}:{SERVICE[1]}"),
        start(lab, "client", Streamed, SERVICE6),
        start(lab, "web-3", Streamed, CLIENT),
    )
    service = f"{SERVICE[0]}:{SERVICE[1]}"
    held = start(lab, "client", Held, service, "--count", str(CONNECTIONS))
    opener = start(lab, "client", Connected, service, "--timeout", "5")
    time.sleep(1)
    yield streams, held, opener
