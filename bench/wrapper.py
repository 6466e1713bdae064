"""A hook inside programs that repeat one packet through it: see bpf/bench_packet.h."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from plait.codegen.compile import compile_sources
from plait.codegen.render import render
from plait.core.api.contract import Hook
from plait.core.kernel.bpfobject import BpfObject
from plait.core.kernel.maps import Map
from plait.core.kernel.programs import Skb, test_run
from plait.core.pipeline import Prepared
from plait.core.plan.core import DRAFTS
from plait.core.runtime.flows import Ends
from plait.core.testing.packets import Frame, changed

HEADERS = Path(__file__).parent / "bpf"

REDIRECT = 7
"""TC_ACT_REDIRECT: what a packet that the hook sends on returns."""


class Wrapper:
    """The programs of one hook, on the maps of a datapath. Use it as a context manager."""

    def __init__(
        self, prepared: Prepared, hook: Hook, maps: Mapping[str, Map], cache: Path
    ) -> None:
        headers = {**prepared.plan.headers, "bench": HEADERS}
        source = _wrapped(render(prepared.plan)[hook.value], hook)
        compiled = compile_sources({hook.value: source}, headers, cache)
        self._maps = maps
        self._programs = _load(compiled.objects[hook.value], hook, maps)

    def start(self, frame: Frame, ifindex: int) -> None:
        """Repeat this packet from here on, counting from 0."""
        self.time("bench_save", frame, ifindex, 1)

    def time(self, program: str, frame: Frame, ifindex: int, repeats: int) -> int:
        """Nanoseconds per packet of so many repeats."""
        run = test_run(self._programs[program], frame, repeat=repeats, skb=Skb(ifindex=ifindex))
        expected = REDIRECT if program.startswith("run_") else 0
        if run.retval != expected:
            raise AssertionError(f"{program} returned {run.retval}, not {expected}")
        return run.ns

    def check_output(self, frame: Frame, ifindex: int, to: Ends) -> None:
        """The packet leaves as its flow says, one hop older, with right checksums."""
        run = test_run(self._programs["run_same"], frame, skb=Skb(ifindex=ifindex))
        wanted = changed(frame, src=to.src, dst=to.dst, sport=to.sport, dport=to.dport, ttl=63)
        if run.packet[12:] != wanted[12:]:
            raise AssertionError(f"{Frame(run.packet)!r} leaves, not {wanted!r}")

    @contextmanager
    def fast_path_only(self) -> Iterator[None]:
        """Fail when a packet meanwhile takes the slow path, which drafts its decision."""
        drafts = [self._maps[name] for name in DRAFTS.values()]
        for draft in drafts:
            draft.update(bytes(4), bytes(draft.value_stride))
        yield
        if any(any(value) for draft in drafts for _, value in draft.items()):
            raise AssertionError("a packet took the slow path")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for program in self._programs.values():
            os.close(program)


def _wrapped(source: str, hook: Hook) -> str:
    """The hook's generated C with its entry as a function, and the programs that call it."""
    entry = f'SEC("tc")\nint {hook.value}('
    if source.count(entry) != 1:
        raise AssertionError(f"the program of {hook.value} does not begin with {entry!r}")
    inlined = source.replace(entry, f"static __always_inline int {hook.value}(")
    return f'{inlined}\n#define BENCH_HOOK {hook.value}\n#include "bench_packet.h"\n'


def _load(image: bytes, hook: Hook, maps: Mapping[str, Map]) -> dict[str, int]:
    with BpfObject(image, hook.value) as loaded:
        for name, handle in loaded.maps.items():
            if name in maps:
                handle.reuse(maps[name].fd)
        loaded.load()
        return {name: program.fd() for name, program in loaded.programs.items()}
