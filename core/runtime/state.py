"""What an instance remembers until reboot, beside what is pinned: small JSON files."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from plait.core.config.data import Data, config_data, object_folders
from plait.core.config.model import Config
from plait.core.plan.growth import MapSize

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Content = TypeVar("Content", bound="DataclassInstance")


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The committed generation.

    `programs` has the content key of each object, `drops` a sentence for each drop reason, `sizes`
    a MapSize as plain data of each map that a setting sizes, `settings` the whole config, `objects`
    its folders; `before` is the state of the previous generation, without one of its own. `held`:
    rolled back to, until the config is edited.
    """

    generation: int
    previous: int | None = None
    config: str = ""
    mechanism: str = ""
    applied: float = 0.0
    programs: Mapping[str, str] = field(default_factory=dict)
    plugins: Mapping[str, str] = field(default_factory=dict)
    drops: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    settings: Data = field(default_factory=dict)
    objects: Sequence[str] = ()
    before: Mapping[str, object] = field(default_factory=dict)
    held: bool = False

    @classmethod
    def read(cls, run: Path) -> Self | None:
        """The state of the instance whose run folder this is, or None when there is none."""
        try:
            return read_json(cls, run / "state.json")
        except FileNotFoundError:
            return None

    def write(self, run: Path) -> None:
        """Replace the file at once: a reader sees the state before or this one."""
        write_json(run / "state.json", asdict(self))

    @property
    def map_sizes(self) -> dict[str, MapSize]:
        """`sizes`, read."""
        return {name: from_plain(MapSize, size) for name, size in self.sizes.items()}

    def plain(self) -> dict[str, object]:
        """As plain data, without the state before."""
        return asdict(replace(self, before={}))

    def undone(self) -> Self:
        """The state of the previous generation, from which this one is the way back."""
        before = from_plain(type(self), self.before)
        return replace(before, previous=self.generation, before=self.plain(), held=True)

    def on_the_way_of(self, other: Self) -> Self:
        """This state, with the way back that another one has."""
        return replace(self, previous=other.previous, before=other.before, held=other.held)

    def left_behind(self, config: Config) -> bool:
        """True for the config that a rollback has led away from."""
        if not self.held:
            return False
        before = from_plain(type(self), self.before)
        return (before.settings, list(before.objects)) == (
            config_data(config),
            object_folders(config),
        )

    @staticmethod
    def remove(run: Path) -> None:
        """Forget everything."""
        (run / "state.json").unlink(missing_ok=True)


class OldSettings:
    """The values that kernel settings had before Plait changed them, by path below /proc/sys.

    In a file of its own that is written before the setting: a process killed in between has changed
    nothing that is not known.
    """

    def __init__(self, run: Path) -> None:
        self._file = run / "sysctls.json"

    def read(self) -> dict[str, str]:
        """All of them, the last one that was changed first: in the order of setting them back."""
        try:
            return dict(json.loads(self._file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return {}

    def keep(self, path: str, value: str) -> None:
        """Remember a value; the one that was there first stays."""
        write_json(self._file, {path: value, **self.read()})

    def forget(self) -> None:
        """They are back."""
        self._file.unlink(missing_ok=True)


def write_json(path: Path, content: object) -> None:
    """Write a JSON file so that no reader ever sees half of it."""
    write_text(path, json.dumps(content, indent=1))


def write_text(path: Path, text: str) -> None:
    """Write a file so that no reader ever sees half of it."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def read_json(kind: type[Content], path: Path) -> Content:
    """The dataclass that `write_json` wrote as a dict. FileNotFoundError."""
    return from_plain(kind, json.loads(path.read_text(encoding="utf-8")))


def from_plain(kind: type[Content], content: Mapping[str, Any]) -> Content:
    """A dataclass from a dict. Fields that it does not have are passed over: another version of
    Plait may have written them.
    """
    known = {each.name for each in fields(kind)}
    return kind(**{name: value for name, value in content.items() if name in known})
