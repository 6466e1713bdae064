"""A generation: the programs and maps of one plan, loaded, and pinned so that they outlive us."""

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from plait.core.kernel import info as kernel_info
from plait.core.kernel import libbpf
from plait.core.kernel.maps import Map


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """Descriptors of one generation; it owns them. Pinned below `gen-NUMBER` of the instance."""

    number: int
    programs: Mapping[str, int]
    maps: Mapping[str, Map]

    @classmethod
    def pinned(cls, pins: Path, number: int) -> Self | None:
        """The generation of this number, or None when it is not (wholly) pinned."""
        folder = _folder(pins, number)
        if not (folder / "whole").exists():
            return None
        return cls(
            number=number,
            programs={p.name: libbpf.pinned(p) for p in sorted((folder / "prog").iterdir())},
            maps={p.name: Map.pinned(p) for p in sorted((folder / "map").iterdir())},
        )

    def pin(self, pins: Path) -> None:
        """Pin everything; the mark `whole` comes last, so half a generation is never adopted."""
        folder = _folder(pins, self.number)
        forget(pins, self.number)
        for kind in ("prog", "map"):
            (folder / kind).mkdir(mode=0o700, parents=True)
        for name, fd in self.programs.items():
            libbpf.pin(fd, folder / "prog" / name)
        for name, each in self.maps.items():
            each.pin(folder / "map" / name)
        (folder / "whole").mkdir()

    def program_ids(self) -> dict[str, int]:
        """The kernel's id of each program."""
        return {name: kernel_info.program_info(fd).id for name, fd in self.programs.items()}

    def close(self) -> None:
        """Let go of the descriptors; what is pinned or attached lives on."""
        for fd in self.programs.values():
            os.close(fd)
        for each in self.maps.values():
            each.close()


def numbers(pins: Path) -> tuple[int, ...]:
    """The numbers of all generations that are pinned, whole or not, ascending."""
    return tuple(sorted(int(path.name.removeprefix("gen-")) for path in pins.glob("gen-*")))


def forget(pins: Path, number: int) -> None:
    """Remove a generation's pins."""
    shutil.rmtree(_folder(pins, number), ignore_errors=True)


def forget_others(pins: Path, keep: Iterable[int]) -> None:
    """Remove the pins of all generations but these."""
    for number in set(numbers(pins)) - set(keep):
        forget(pins, number)


def _folder(pins: Path, number: int) -> Path:
    return pins / f"gen-{number}"
