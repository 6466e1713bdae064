"""Where one instance of Plait keeps its things: pins, state, cache."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from plait.core.errors import PlaitError

BPFFS = Path("/sys/fs/bpf")

# bpffs refuses names with a dot.
_INSTANCE = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """The folders of one instance.

    `pins` is on bpffs and lives until reboot, like `run`; `state` survives a reboot; `cache` is
    shared by all instances and may be deleted at any time.
    """

    pins: Path
    run: Path
    state: Path
    cache: Path

    @classmethod
    def of(cls, instance: str, environment: Mapping[str, str] = os.environ) -> Self:
        """The folders of the instance called so; PLAIT_CACHE in the environment moves the cache.

        PlaitError when the name cannot be that of a folder on bpffs.
        """
        if not _INSTANCE.fullmatch(instance):
            raise PlaitError(
                f"'{instance}' cannot be the name of an instance",
                expected="letters, digits, '-' and '_', at most 64",
            )
        return cls(
            pins=BPFFS / "plait" / instance,
            run=Path("/run/plait") / instance,
            state=Path("/var/lib/plait") / instance,
            cache=Path(environment.get("PLAIT_CACHE", "/var/cache/plait")),
        )

    def make(self) -> None:
        """Create the folders that are missing, for their owner only."""
        for folder in (self.pins, self.run, self.state, self.cache):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
