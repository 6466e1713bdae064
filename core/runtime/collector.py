"""Garbage collection: runs the program that forgets idle flows, harder when the table fills up."""

import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass

from plait.codegen.render import GC
from plait.core.kernel import libbpf
from plait.core.kernel.maps import Map
from plait.core.plan.core import FLOWS

_RUN = struct.Struct("=QIIII")  # struct plait_gc_run
_USUAL_HZ = (100, 250, 300, 1000)
_CALIBRATION = 0.05  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """Flow entries that live on, and those that were removed."""

    live: int
    removed: int


def measure_hz(program: int) -> int:
    """Jiffies a second: the kernel does not say, so it is measured, and rounded to a usual one."""
    first, began = _run(program, 0, 100)[0], time.monotonic()
    time.sleep(_CALIBRATION)
    second, ended = _run(program, 0, 100)[0], time.monotonic()
    rate = (second - first) / (ended - began)
    return min(_USUAL_HZ, key=lambda hz: abs(hz - rate) / hz)


def collect(programs: Mapping[str, int], maps: Mapping[str, Map], hz: int, live: int) -> Collected:
    """Forget idle flows. `live` is how many entries there were last time: from three quarters of
    the table on, flows that are not established are forgotten the sooner the fuller it is.
    """
    capacity = sum(maps[name].info.max_entries for name in FLOWS.values() if name in maps)
    free = max(0.0, 1 - live / capacity) if capacity else 1.0
    percent = 100 if free > 0.25 else max(1, int(free * 4 * 100))
    _, kept, removed = _run(programs[GC], hz, percent)
    return Collected(live=kept, removed=removed)


def _run(program: int, hz: int, percent: int) -> tuple[int, int, int]:
    _, context = libbpf.program_call(program, _RUN.pack(0, hz, percent, 0, 0))
    jiffies, _, _, live, removed = _RUN.unpack(context)
    return jiffies, live, removed
