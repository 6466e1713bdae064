"""The plugins folder: its files become code that runs as root, so only root may write them."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from plait.core.errors import PlaitError, raise_all


def plugin_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """(name, file) of each `NAME.py` and each package `NAME/__init__.py`; none without a folder.

    Raises `PlaitError` for whatever below `folder` someone else than root, or than the user who
    runs Plait, owns or may write.
    """
    if not folder.is_dir():
        return
    raise_all(_untrusted(path) for path in (folder, *sorted(folder.rglob("*"))) if _writable(path))
    for path in sorted(folder.iterdir()):
        file = path / "__init__.py" if path.is_dir() else path
        if file.suffix == ".py" and file.is_file() and not path.name.startswith(("_", ".")):
            yield path.stem, file


def _writable(path: Path) -> bool:
    status = path.stat()
    foreign = status.st_uid not in (0, os.geteuid())
    return foreign or bool(status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def _untrusted(path: Path) -> PlaitError:
    return PlaitError(
        f"{path} can be written by others than root",
        expected="expected plugins that only root can write",
        hint=f"chown root:root {path} && chmod go-w {path}",
    )
