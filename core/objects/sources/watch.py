"""Watches files and directories, and tells once when a burst of changes below them is over."""

import os
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from watchdog.events import (
    DirDeletedEvent,
    DirModifiedEvent,
    DirMovedEvent,
    FileClosedNoWriteEvent,
    FileCreatedEvent,
    FileModifiedEvent,
    FileOpenedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch

QUIET = 0.005
"""Seconds without a change after which a burst is over."""
LIMIT = 0.050
"""Seconds after which a burst that does not end is told all the same."""
WRITING = 1.0
"""The same while a file is being written in place: half of it is not to be read."""


class Watch:
    """Calls `changed`, in a thread of its own, after something at or below `paths` has changed.

    Seen are writes in place, renames, deletions, swapped symbolic links (Kubernetes' ConfigMaps),
    and paths that begin to exist. Start, then look, and nothing is missed. A file that is moved out
    of what is watched is told 0.5 s late: watchdog waits for where it went.
    """

    def __init__(self, paths: Sequence[Path], changed: Callable[[], None]) -> None:
        self._paths = tuple(path.absolute() for path in paths)
        self._changed = changed
        self._burst = _Burst()
        self._places = _Places(self._burst)
        self._thread = threading.Thread(target=self._run, name="plait-watch", daemon=True)

    def start(self) -> None:
        """Changes from here on are told."""
        self._places.start()
        self._places.arm(self._paths)
        self._thread.start()

    def news(self) -> frozenset[str]:
        """The paths that have changed since this was last asked for."""
        return self._burst.news()

    def stop(self) -> None:
        """Returns when a call that is under way has returned; no other will come."""
        self._burst.stop()
        self._thread.join()
        self._places.stop()

    def _run(self) -> None:
        while self._burst.wait():
            # First the watches, then the look: what comes between them is seen by both.
            self._places.arm(self._paths)
            self._changed()


class _Burst:
    """Changes that follow each other closely."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._stopped = False
        self._first: float | None = None
        self._last = 0.0
        self._written: set[str] = set()
        self._changed: set[str] = set()

    def add(self, path: str, *, open_for_writing: bool) -> None:
        with self._news:
            self._last = time.monotonic()
            if self._first is None:
                self._first = self._last
            if open_for_writing:
                self._written.add(path)
            else:
                self._written.discard(path)
            self._news.notify()

    def note(self, path: str) -> None:
        with self._news:
            self._changed.add(path)

    def news(self) -> frozenset[str]:
        with self._news:
            changed, self._changed = frozenset(self._changed), set()
        return changed

    def stop(self) -> None:
        with self._news:
            self._stopped = True
            self._news.notify()

    def wait(self) -> bool:
        """Wait until a burst is over; False when stopped."""
        with self._news:
            while not self._stopped:
                left = self._left()
                if left is not None and left <= 0:
                    self._first = None
                    self._written.clear()
                    return True
                self._news.wait(left)
            return False

    def _left(self) -> float | None:
        if self._first is None:
            return None
        due = min(self._last + QUIET, self._first + LIMIT)
        if self._written:
            due = self._first + WRITING
        return due - time.monotonic()


class _Places(FileSystemEventHandler):
    """The directories that have to be watched so that no change of the paths goes unseen."""

    def __init__(self, burst: _Burst) -> None:
        self._burst = burst
        self._observer: BaseObserver = Observer()
        self._watches: dict[_Place, ObservedWatch] = {}
        self._names: frozenset[str] = frozenset()
        self._gone: deque[str] = deque()
        self._astray = threading.Event()  # a path may lead elsewhere than when we last looked
        self._astray.set()

    def start(self) -> None:
        self._observer.start()

    def stop(self) -> None:
        self._observer.stop()
        self._observer.join()

    def arm(self, paths: Iterable[Path]) -> None:
        """Watch what `paths` lead to now; look again when that has uncovered something new.

        To look takes a pass over all names below them: while only files were written it is spared.
        """
        if not self._astray.is_set():
            return
        self._astray.clear()
        self._forget_gone()
        while True:
            steps, trees = _reach(paths)
            self._names = frozenset(str(name) for name in steps | trees)
            parents = {step.parent for step in steps if not _within(step.parent, trees)}
            if not self._watch({(tree, True) for tree in trees} | {(it, False) for it in parents}):
                return

    def dispatch(self, event: FileSystemEvent) -> None:
        """Called by the observer's thread for each event."""
        if isinstance(event, FileOpenedEvent | FileClosedNoWriteEvent):
            return  # a reader, such as we are
        if isinstance(event, DirDeletedEvent | DirMovedEvent):
            self._gone.append(os.fsdecode(event.src_path))
        for path in (os.fsdecode(event.src_path), os.fsdecode(event.dest_path)):
            if path and self._concerns(path):
                if not isinstance(event, DirModifiedEvent):  # what changed in it is told as well
                    self._burst.note(path)
                    if event.is_directory or path in self._names or Path(path).is_symlink():
                        self._astray.set()
                self._burst.add(path, open_for_writing=_open_for_writing(event))

    def _concerns(self, path: str) -> bool:
        return any(path == name or path.startswith(name + "/") for name in self._names)

    def _forget_gone(self) -> None:
        """Let go of the watches of directories that went: others may have their names by now."""
        while self._gone:
            gone = Path(self._gone.popleft())
            for place in [place for place in self._watches if place[0].is_relative_to(gone)]:
                self._observer.unschedule(self._watches.pop(place))

    def _watch(self, wanted: "set[_Place]") -> bool:
        for place in self._watches.keys() - wanted:
            self._observer.unschedule(self._watches.pop(place))
        new = wanted - self._watches.keys()
        for path, recursive in new:
            try:
                watch = self._observer.schedule(self, str(path), recursive=recursive)
            except FileNotFoundError:
                continue  # gone since we looked, which makes the next round differ
            self._watches[path, recursive] = watch
        return bool(new)


_Place = tuple[Path, bool]
"""A directory to watch, and whether with all that is below it."""


def _reach(paths: Iterable[Path]) -> tuple[set[Path], set[Path]]:
    """What `paths` lead to: single names, and directories with all that is below them."""
    steps: set[Path] = set()
    trees: set[Path] = set()
    todo = deque(paths)
    while todo:
        path = todo.popleft()
        steps.update(_trail(path))
        if path.is_dir() and not _within(tree := path.resolve(), trees):
            trees.add(tree)
            todo.extend(_links(tree))
    return steps, trees


def _trail(path: Path) -> Iterator[Path]:
    """The names that decide where `path` leads: symbolic links, then its end or what is missing."""
    here, parts = Path("/"), deque(path.parts[1:])
    for _ in range(_STEPS):
        if not parts:
            break
        here /= parts.popleft()
        if here.is_symlink():
            yield here
            target = Path(os.path.normpath(here.parent / here.readlink()))
            here, parts = Path("/"), deque((*target.parts[1:], *parts))
        elif not here.exists():
            break
    yield here


_STEPS = 256  # links may lead in a circle


def _links(tree: Path) -> Iterator[Path]:
    todo = [str(tree)]
    while todo:
        with suppress(FileNotFoundError), os.scandir(todo.pop()) as entries:
            for entry in entries:
                if entry.is_symlink():
                    yield Path(entry.path)
                elif entry.is_dir():
                    todo.append(entry.path)


def _within(path: Path, trees: Iterable[Path]) -> bool:
    return any(path.is_relative_to(tree) for tree in trees)


def _open_for_writing(event: FileSystemEvent) -> bool:
    """True when a writer has yet to close the file, which is an event of its own."""
    if isinstance(event, FileModifiedEvent):
        return True
    return isinstance(event, FileCreatedEvent) and _is_empty_file(os.fsdecode(event.src_path))


def _is_empty_file(path: str) -> bool:
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == 0
