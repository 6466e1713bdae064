"""Changes to the system as plain data, each with its undo, and the one place that performs them."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from plait.core.kernel import links
from plait.core.kernel.links import Attachment, TargetGone
from plait.core.runtime.state import OldSettings, State

PROC_SYS = Path("/proc/sys")


class Action(Protocol):
    """A change that can be taken back."""

    def do(self) -> None:
        """Make the change, wholly or not at all."""

    def undo(self) -> None:
        """Take the change back; the system is as before `do`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attach:
    """Put a program where none of ours is. A vanished device or cgroup is no failure."""

    program: int
    place: Attachment

    def do(self) -> None:
        with suppress(TargetGone):
            links.attach(self.program, self.place)

    def undo(self) -> None:
        links.detach(self.place)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replace:
    """Put another program where one of ours is, atomically."""

    attachment: Attachment
    program: int
    before: int

    def do(self) -> None:
        with suppress(TargetGone):
            links.update(self.attachment, self.program)

    def undo(self) -> None:
        with suppress(TargetGone):
            links.update(self.attachment, self.before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Detach:
    """Take one of our programs off its device or cgroup."""

    attachment: Attachment
    before: int

    def do(self) -> None:
        links.detach(self.attachment)

    def undo(self) -> None:
        with suppress(TargetGone):
            links.attach(self.before, self.attachment)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteSysctl:
    """Set a kernel setting; `path` is below /proc/sys. `detach` sets it back."""

    run: Path
    path: str
    value: str
    before: str

    def do(self) -> None:
        OldSettings(self.run).keep(self.path, self.before)
        (PROC_SYS / self.path).write_text(self.value)

    def undo(self) -> None:
        (PROC_SYS / self.path).write_text(self.before)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteState:
    """Say which generation is the one to adopt: what commits a swap."""

    run: Path
    state: State
    before: State | None

    def do(self) -> None:
        self.state.write(self.run)

    def undo(self) -> None:
        if self.before:
            self.before.write(self.run)
        else:
            State.remove(self.run)


def perform(actions: Iterable[Action]) -> None:
    """Do them in order. When one fails, undo those before it, last first, and raise its error."""
    done: list[Action] = []
    try:
        for action in actions:
            action.do()
            done.append(action)
    except BaseException:
        for action in reversed(done):
            action.undo()
        raise
