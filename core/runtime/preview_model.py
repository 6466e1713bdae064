"""The answer of `plait plan`, as docs/json.md has it: plain data, and no way to make it."""

from dataclasses import asdict, dataclass
from enum import StrEnum

from plait.core.plan.diff import Effect, KeyChange


class Change(StrEnum):
    """What becomes of a program, or of the program at a place."""

    NEW = "new"
    UNCHANGED = "unchanged"
    SWAPPED = "swapped"
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginPreview:
    """A plugin that takes part. `running` is its version in what runs, if it is there."""

    name: str
    version: str
    running: str | None
    features: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPreview:
    """A fragment in its place; `line` of the plugin's header defines it."""

    stage: str
    function: str
    plugin: str
    header: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HookPreview:
    """The fragments of a hook, in the order in which a packet meets them."""

    hook: str
    steps: tuple[StepPreview, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramPreview:
    """A program, and with --load its `instructions` and how many of them the verifier `walked`."""

    name: str
    change: str
    instructions: int | None = None
    walked: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MapPreview:
    """A map, by whom it is and what becomes of it.

    `entries` is what it has room for, `wanted` what the objects come to, of a map that they fill;
    `bytes` what it takes when it is full, about; `bound` the entries that it may grow to, and
    `bound_bytes` what these take; `key` the setting that sizes it. Of a map that goes only the name
    is known.
    """

    name: str
    change: str
    plugin: str | None = None
    entries: int | None = None
    wanted: int | None = None
    bytes: int | None = None
    bound: int | None = None
    bound_bytes: int | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacePreview:
    """A program of a hook on a device, or at a cgroup: one of the two is None."""

    device: str | None = None
    cgroup: str | None = None
    hook: str
    program: str
    mechanism: str
    change: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SysctlPreview:
    """A setting of the kernel that would be changed: its path below /proc/sys."""

    path: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A plan against what runs.

    `running` is the generation that runs, None when nothing does. `effect` is the dearest of all
    that would change, None when nothing would, or nothing runs. `verifier_seconds` and the counts
    of programs are there with --load. `problems` are those of objects: they keep nothing else from
    running.
    """

    node: str
    running: int | None
    effect: Effect | None
    plugins: tuple[PluginPreview, ...]
    hooks: tuple[HookPreview, ...]
    programs: tuple[ProgramPreview, ...]
    maps: tuple[MapPreview, ...]
    bytes: int
    bound_bytes: int
    places: tuple[PlacePreview, ...]
    sysctls: tuple[SysctlPreview, ...]
    keys: tuple[KeyChange, ...]
    verifier_seconds: float | None
    warnings: tuple[str, ...]
    problems: tuple[str, ...]

    def plain(self) -> dict[str, object]:
        """As plain data."""
        return asdict(self)
