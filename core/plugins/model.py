"""A loaded plugin, and how an exception inside one becomes an error with its name."""

import importlib
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pluggy

from plait.core.errors import PlaitError, Position

_MACHINERY = (
    "<",
    *(str(Path(file).parent) for file in (__file__, importlib.__file__, pluggy.__file__)),
)
"""How names of files begin in which an exception passed by, on its way from the plugin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """A loaded plugin. `name` is its entry point's or its file's.

    `hooks` calls this plugin alone: asked together, none could be blamed for an exception.
    """

    name: str
    version: str
    file: Path
    hooks: pluggy.HookRelay

    def __str__(self) -> str:
        return f"plugin '{self.name}'"


@contextmanager
def blame(name: str, doing: str) -> Iterator[None]:
    """Turn any exception into a `PlaitError` that names the plugin and the line that raised."""
    try:
        yield
    except PlaitError:
        raise
    except (Exception, SystemExit) as error:
        raise PlaitError(
            f"plugin '{name}' failed {doing}: {type(error).__name__}: {error}",
            at=raised_at(error),
            hint="nothing was changed; fix the plugin or remove it",
        ) from error


def raised_at(error: BaseException) -> Position | None:
    """The innermost line that is a plugin's, or a library's that it called."""
    if isinstance(error, SyntaxError) and error.filename:
        return Position(
            file=Path(error.filename), line=error.lineno or 1, column=max(error.offset or 1, 1)
        )
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.lineno and not frame.filename.startswith(_MACHINERY):
            return Position(file=Path(frame.filename), line=frame.lineno)
    return None
