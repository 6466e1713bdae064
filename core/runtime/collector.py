"""Garbage collection: runs the program that forgets idle flows, harder when the table fills up."""

import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass

from plait.codegen.render import GC
from plait.core.kernel import libbpf
from plait.core.kernel.maps import Map
from plait.core.plan.core import FLOWS

_RUN = struct.Struct("=QIIIIII")  # struct plait_gc_run
_USUAL_HZ = (100, 250, 300, 1000)
_CALIBRATION = 0.05  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """Flow entries that live on in each table, those that were removed, how full the fuller is."""

    tables: Mapping[str, int]
    removed: int
    fullness: float

    @property
    def live(self) -> int:
        """Flow entries that live on."""
        return sum(self.tables.values())


def measure_hz(program: int) -> int:
    """Jiffies a second: the kernel does not say, so it is measured, and rounded to a usual one."""
    first, began = _run(program, 0, 100)[0], time.monotonic()
    time.sleep(_CALIBRATION)
    second, ended = _run(program, 0, 100)[0], time.monotonic()
    rate = (second - first) / (ended - began)
    return min(_USUAL_HZ, key=lambda hz: abs(hz - rate) / hz)


def collect(
    programs: Mapping[str, int],
    maps: Mapping[str, Map],
    hz: int,
    fullness: float = 0.0,
    *,
    sweep: bool = False,
) -> Collected:
    """Forget idle flows; with `sweep`, also those of pods that are gone.

    `fullness` is what the last run told: from three quarters of a table on, flows that are not
    established are forgotten the sooner the fuller it is.
    """
    free = max(0.0, 1 - fullness)
    percent = 100 if free > 0.25 else max(1, int(free * 4 * 100))
    _, live, removed = _run(programs[GC], hz, percent, sweep)
    tables = {name: live[family] for family, name in FLOWS.items() if name in maps}
    return Collected(
        tables=tables,
        removed=removed,
        fullness=max(
            (count / maps[name].info.max_entries for name, count in tables.items()), default=0.0
        ),
    )


def _run(
    program: int, hz: int, percent: int, sweep: bool = False
) -> tuple[int, dict[int, int], int]:
    """(jiffies, live entries by family, entries removed)."""
    _, context = libbpf.program_call(program, _RUN.pack(0, hz, percent, 0, 0, 0, sweep))
    jiffies, _, _, live4, live6, removed, _ = _RUN.unpack(context)
    return jiffies, {4: live4, 6: live6}, removed
