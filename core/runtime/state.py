"""What an instance remembers until reboot, beside what is pinned: one small JSON file."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from plait.core.config.data import Data

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Content = TypeVar("Content", bound="DataclassInstance")


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The committed generation, and what must be undone at the end.

    `programs` has the content key of each program, `sysctls` the value that each path had before,
    `drops` a sentence for each drop reason, `settings` the whole config.
    """

    generation: int
    previous: int | None = None
    config: str = ""
    mechanism: str = ""
    applied: float = 0.0
    programs: Mapping[str, str] = field(default_factory=dict)
    plugins: Mapping[str, str] = field(default_factory=dict)
    sysctls: Mapping[str, str] = field(default_factory=dict)
    drops: Mapping[str, str] = field(default_factory=dict)
    settings: Data = field(default_factory=dict)

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

    @staticmethod
    def remove(run: Path) -> None:
        """Forget everything."""
        (run / "state.json").unlink(missing_ok=True)


def write_json(path: Path, content: object) -> None:
    """Write a JSON file so that no reader ever sees half of it."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(content, indent=1), encoding="utf-8")
    partial.replace(path)


def read_json(kind: type[Content], path: Path) -> Content:
    """The dataclass that `write_json` wrote as a dict. FileNotFoundError.

    Fields that it does not have are passed over: another version of Plait may have written them.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    known = {each.name for each in fields(kind)}
    return kind(**{name: value for name, value in content.items() if name in known})
