"""Handing flows over while they live: what the old programs do to them until the last one is gone.

Tables are copied while traffic flows. What the old programs open or change meanwhile they also
write to a map that both generations share (plait_handover4 and 6): the new programs look there for
flows that they do not know, and here it is carried over with the plugins' parts.
"""

import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from plait.codegen.layout import member
from plait.core.api.contract import MapSpec
from plait.core.control.revisions import Revisions
from plait.core.kernel.maps import Entries, Map
from plait.core.plan.core import FLOWS, HANDOVERS, REVISIONS
from plait.core.runtime.migration import Convert, converter


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """One family's flow table of the old and of the new generation, and the map between them."""

    between: Map
    old: Map
    new: Map
    convert: Convert

    def follow(self) -> None:
        """Carry over what was written down, before a new program runs."""
        self.new.update_many(self._moved())

    def settle(self) -> None:
        """Carry over the rest, now that only new programs run. What these know better they keep."""
        _, entry = self.new.layouts()
        flow, parts = member(entry, "flow"), member(entry, "parts").offset
        seen = flow.offset + member(flow.layout, "seen").offset
        for key, moved in self._moved():
            known = self.new.lookup(key)
            keeps = known is not None and _later(known, moved, seen)
            self.new.update(key, known[:parts] + moved[parts:] if known and keeps else moved)

    def _moved(self) -> Iterator[tuple[bytes, bytes]]:
        for key, _ in self.between.items():
            value = self.old.lookup(key)
            if value is not None:
                moved = self.convert(Entries(count=1, keys=key, values=value))
                yield moved.keys, moved.values


@contextmanager
def handing_over(
    specs: Mapping[str, MapSpec],
    changed: Collection[str],
    old: Mapping[str, Map],
    new: Mapping[str, Map],
) -> Iterator[tuple[Handover, ...]]:
    """The flow tables among the `changed` maps that both generations have, handed over meanwhile.

    None when the generations do not share what it takes: one of them is of another version.
    """
    shared = {name for name in old.keys() & new.keys() if old[name].info.id == new[name].info.id}
    handovers = tuple(
        Handover(
            between=old[between],
            old=old[table],
            new=new[table],
            convert=converter(specs[table], old[table], new[table]),
        )
        for table, between in ((FLOWS[family], HANDOVERS[family]) for family in FLOWS)
        if table in changed and table in old and {between, REVISIONS} <= shared
    )
    if not handovers:
        yield ()
        return
    revisions = Revisions(old[REVISIONS])
    revisions.hand_over(begin=True)
    try:
        yield handovers
    finally:
        end_handover(old)


def end_handover(maps: Mapping[str, Map]) -> None:
    """Nothing is written down any more; what was is forgotten."""
    if REVISIONS in maps:
        Revisions(maps[REVISIONS]).hand_over(begin=False)
    for name in HANDOVERS.values():
        if name in maps:
            maps[name].clear()


def _later(known: bytes, moved: bytes, seen: int) -> bool:
    """True when the flow's last packet was met by the new programs; jiffies wrap around."""
    now, then = (int.from_bytes(value[seen : seen + 4], sys.byteorder) for value in (known, moved))
    return (now - then) & 0xFFFFFFFF < 0x80000000
