"""What a generation costs before it runs: compiling its programs, and getting them verified."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.figures import Figure, Run, Suite
from bench.packet import FEATURES
from plait.core.pipeline import Prepared
from plait.core.runtime.staging import stage
from plait.core.testing.loading import Loader

NODES: Mapping[str, Mapping[str, Sequence[str]]] = {
    "": {"podCIDRs": ["10.244.1.0/24"]},
    ".dual_stack": {"podCIDRs": ["10.244.1.0/24", "fd00:10:244:1::/64"]},
}
"""A plain node has IPv4 only."""

SMALL = 64
"""Entries of the maps: it is the programs that are measured."""


def measure(run: Run) -> Iterator[Figure]:
    """All programs of the datapath that the packet figures are of; medians."""
    count = run.samples(usual=7, quick=3)
    with TemporaryDirectory(prefix="plait-bench-") as scratch:
        caches = (Path(scratch) / str(number) for number in range(count))
        run.progress("compiling")
        compiling = [_compile(cache) for cache in caches]
        yield _figure("compile.cold_ms", compiling)

        loader = Loader(Path(scratch), Path(scratch))
        for suffix, node in NODES.items():
            run.progress("loading")
            yield from _loading(loader.prepare(loader.config(FEATURES, node)), suffix, count)


SUITE = Suite(
    prefixes=("compile", "load"),
    summary="milliseconds to compile all programs, and to load them",
    measure=measure,
)


def _loading(prepared: Prepared, suffix: str, count: int) -> Iterator[Figure]:
    plan, objects = prepared.plan, prepared.compiled.objects
    load = partial(stage, plan, objects, None, most_entries=SMALL)
    milliseconds = [_timed(lambda: load().close()) for _ in range(count)]
    yield _figure(f"load.ms{suffix}", milliseconds)
    staged = load()
    for name, total in (
        ("load.verified_instructions", sum(info.verified for info in staged.info.values())),
        ("load.instructions", sum(info.instructions for info in staged.info.values())),
    ):
        yield Figure(name=f"{name}{suffix}", value=total, unit="instructions")
    staged.close()


def _compile(cache: Path) -> float:
    loader = Loader(cache, cache)
    config = loader.config(FEATURES, {})
    return _timed(lambda: loader.prepare(config))


def _timed(action: Callable[[], object]) -> float:
    """Milliseconds that an action takes."""
    began = time.monotonic()
    action()
    return (time.monotonic() - began) * 1000


def _figure(name: str, samples: list[float]) -> Figure:
    return Figure(name=name, value=round(statistics.median(samples)), unit="ms")
