"""A hundred thousand backends over ten thousand services; Maglev's tables by themselves."""

import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from ipaddress import IPv4Address
from itertools import cycle, islice
from pathlib import Path

from bench.agent import Place, agent, quickstart, wait_until
from bench.figures import Figure, Run, Suite
from bench.services import BACKENDS, write_services
from bench.services import SERVICES as FIRST
from plait.core.api import Record
from plait.plugins.lb.backends import Backend, Backends
from plait.plugins.lb.config import LbConfig
from plait.plugins.lb.maglev import table_of, table_size

SERVICES = 10_000
LARGEST = 1000
"""Backends of the first service; the others have the rest, ten each."""
TOTAL = LARGEST + 10 * (SERVICES - 1)
EACH = 100
"""Backends of a table that is measured by itself."""


def measure(run: Run) -> Iterator[Figure]:
    """Tables, then the whole way from YAML into the kernel."""
    yield from _tables(run)
    with quickstart("benchbackends") as place:
        place.write_config(backends=TOTAL + LARGEST)
        shutil.rmtree(place.objects)
        place.objects.mkdir()
        with agent(place):
            pass  # the programs are compiled
        run.progress(f"{TOTAL:,} backends of {SERVICES:,} services")
        first, *_ = write_services(place.objects, range(SERVICES), backends_of, per_file=1)
        with agent(place) as running:
            _check(place)
            seconds = round(running.started_seconds, 2)
            yield Figure(name="services.load_100k_backends_s", value=seconds, unit="s")
            time.sleep(1)  # the agent looks once more at what it watches
            count = run.samples(usual=20, quick=5)
            yield _median("services.replace_endpoint_ms", islice(_replaced(place, first), count))
            memory = running.memory_kb()["Rss"] / 1024
            yield Figure(name="agent.rss_100k_backends_mb", value=round(memory, 1), unit="MB")


SUITE = Suite(
    prefixes=("maglev", "services", "agent"),
    summary=f"{TOTAL:,} backends from YAML into the kernel, and one of them replaced",
    measure=measure,
)


def backends_of(number: int) -> Sequence[IPv4Address]:
    """Those of the service of this number: no other one has them."""
    if number == 0:
        return [BACKENDS + each for each in range(LARGEST)]
    return [BACKENDS + LARGEST + 10 * (number - 1) + each for each in range(10)]


def _tables(run: Run) -> Iterator[Figure]:
    """Of backends that were never seen before, as large as the defaults make them."""
    size = table_size(EACH, LbConfig().table_size)
    pools = (
        Backends(
            ready=tuple([Backend(BACKENDS + EACH * number + each, 8080) for each in range(EACH)])
        )
        for number in range(2000)
    )
    tables = (_timed(partial(table_of, pool, size)) for pool in pools)
    yield _median("maglev.one_table_ms", islice(tables, run.samples(usual=50, quick=10)))
    thousand = sum(islice(tables, run.samples(usual=1000, quick=100))) / 1000
    scale = 1 if not run.quick else 10
    yield Figure(name="maglev.thousand_tables_s", value=round(scale * thousand, 2), unit="s")


def _check(place: Place) -> None:
    with place.map("lb_groups") as groups:
        _, codec = groups.codecs()
        found = sum(len(_addresses(codec.decode(value))) for _, value in groups.items())
    if found != TOTAL:
        raise AssertionError(f"the kernel has {found} backends, not {TOTAL}")


def _replaced(place: Place, file: Path) -> Iterator[float]:
    """Another backend in the place of one of the largest service, then that one again:
    milliseconds until the service leads there.
    """
    old, new = BACKENDS + LARGEST // 2, IPv4Address("10.250.0.1")
    whole = file.read_text()
    with place.map("lb_services") as services:
        key_codec, value_codec = services.codecs()
        key = key_codec.encode({"addr": FIRST, "port": 80, "proto": 6, "side": 0})

        def version() -> object:
            value = services.lookup(key)
            return value_codec.decode(value)["version"] if value else None

        def changed(before: object) -> bool:
            return version() != before

        for text in cycle((whole.replace(f"[{old}]", f"[{new}]"), whole)):
            before, began = version(), time.monotonic()
            file.write_text(text)
            yield (wait_until(partial(changed, before)) - began) * 1000
            time.sleep(0.3)


def _addresses(group: Record) -> Sequence[object]:
    """Those of the backends in a group."""
    found = group["backend"]
    assert isinstance(found, tuple)
    return [each["addr"] for each in found if isinstance(each, Mapping) and each["port"]]


def _median(name: str, samples: Iterator[float]) -> Figure:
    return Figure(name=name, value=round(statistics.median(samples), 1), unit="ms")


def _timed(action: Callable[[], object]) -> float:
    """Milliseconds that an action takes."""
    began = time.monotonic()
    action()
    return (time.monotonic() - began) * 1000
