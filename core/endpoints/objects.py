"""Endpoint objects as files: one `NAME.yaml` for each, in a folder that the agent reads."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from plait.core.config.yaml import read_text
from plait.core.errors import PlaitError, raise_all
from plait.core.objects.model import Endpoint
from plait.core.objects.parse import Parsed, kind_table, parse_text


def default_folder(instance: str) -> Path:
    """Where the agent `instance` looks for the endpoints of this node."""
    return Path("/var/lib/plait") / instance / "objects.d"


def render(endpoint: Endpoint) -> str:
    """The object as YAML. Raises `PlaitError` when the agent would refuse to read it."""
    text = yaml.safe_dump(_document(endpoint), sort_keys=False)
    raise_all(
        PlaitError(problem.what, expected=problem.expected, hint=problem.hint)
        for problem in _parse(text, Path()).problems
    )
    return text


def write(name: str, text: str, folder: Path) -> None:
    """Write the object of the endpoint `name`: all of it, or nothing."""
    file = _file(name, folder)
    draft = file.with_suffix(".draft")  # the agent reads *.yaml only
    draft.write_text(text, encoding="utf-8")
    draft.replace(file)


def read_all(folder: Path) -> tuple[Endpoint, ...]:
    """The endpoints in the folder, by name. Raises `PlaitError` for a file that makes no sense."""
    parsed = [_parse(read_text(file), file) for file in _files(folder)]
    raise_all(problem for each in parsed for problem in each.problems)
    return tuple(
        endpoint for each in parsed for endpoint in each.objects if isinstance(endpoint, Endpoint)
    )


def remove(name: str, folder: Path) -> None:
    """Remove the object of the endpoint `name`. Repeatable."""
    _file(name, folder).unlink(missing_ok=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder, and keep others who would choose an address from it waiting."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(each for each in folder.iterdir() if each.suffix == ".yaml")
    except FileNotFoundError:  # but one that must not be read is no empty one
        return []


def _file(name: str, folder: Path) -> Path:
    if Path(name).name != name:
        raise PlaitError(f"'{name}' cannot be the name of an endpoint")
    return folder / f"{name}.yaml"


def _parse(text: str, file: Path) -> Parsed:
    return parse_text(text, file, kind_table((Endpoint,)))


def _document(endpoint: Endpoint) -> dict[str, object]:
    return {
        "apiVersion": endpoint.api_version,
        "kind": endpoint.kind,
        "metadata": {"name": endpoint.meta.name, "labels": dict(endpoint.meta.labels)},
        "spec": {
            "interface": endpoint.interface,
            "addresses": [str(address) for address in endpoint.addresses],
            "mac": endpoint.mac,
        },
    }
