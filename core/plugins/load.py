"""Find plugins and load them: entry points of installed packages, and a folder of files."""

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pluggy

from plait.core.api import hookspecs
from plait.core.api.contract import PLUGIN_API
from plait.core.errors import PlaitError, Position, raise_all
from plait.core.plugins.ask import Plugins
from plait.core.plugins.folder import plugin_files
from plait.core.plugins.model import Plugin, blame

ENTRY_POINTS = "plait.plugins"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """A plugin that was found. `version` is None when the module itself says it."""

    name: str
    version: str | None
    origin: str
    load: Callable[[], ModuleType]


def load_plugins(folder: Path) -> Plugins:
    """Every plugin that is installed or lies in `folder` (which may be absent), by name.

    Raises `PlaitError` (or `Problems`) for a plugin that cannot be imported, speaks another
    `PLUGIN_API` or defines a hook that there is none of, for two plugins of one name, and for a
    folder that others than root can write to.
    """
    loaded: list[Plugin] = []
    problems: list[PlaitError] = []
    origins: dict[str, str] = {}
    candidates = [*_installed(), *_in_folder(folder)]
    for candidate in sorted(candidates, key=lambda each: (each.name, each.origin)):
        try:
            _refuse_name(candidate)
            _refuse_twin(candidate, origins)
            loaded.append(_load(candidate))
        except PlaitError as error:
            problems.append(error)
    raise_all(problems)
    return Plugins(plugins=tuple(loaded))


def _installed() -> Iterator[_Candidate]:
    for entry in entry_points(group=ENTRY_POINTS):
        yield _Candidate(
            name=entry.name,
            version=entry.dist.version if entry.dist else None,
            origin=f"package {entry.dist.name}" if entry.dist else entry.value,
            load=entry.load,
        )


def _in_folder(folder: Path) -> Iterator[_Candidate]:
    for name, file in plugin_files(folder):
        yield _Candidate(
            name=name, version=None, origin=str(file), load=partial(_import_file, name, file)
        )


def _refuse_name(candidate: _Candidate) -> None:
    """The name starts all the C names of the plugin; core's own start with `plait`."""
    if not re.fullmatch(r"(?!core$|plait$)[a-z][a-z0-9_-]*", candidate.name):
        raise PlaitError(
            f"a plugin cannot be named '{candidate.name}' ({candidate.origin})",
            expected="expected lower-case letters, digits, '-' and '_', not 'core' or 'plait'",
        )


def _refuse_twin(candidate: _Candidate, origins: dict[str, str]) -> None:
    other = origins.setdefault(candidate.name, candidate.origin)
    if other != candidate.origin:
        raise PlaitError(
            f"two plugins are named '{candidate.name}': from {other} and from {candidate.origin}",
            hint="remove or rename one of them",
        )


def _load(candidate: _Candidate) -> Plugin:
    with blame(candidate.name, "to load"):
        module = candidate.load()
    file = Path(module.__file__ or candidate.origin)
    spoken = getattr(module, "PLUGIN_API", None)
    if spoken != PLUGIN_API:
        says = "does not say which PLUGIN_API it is" if spoken is None else f"is for API {spoken}"
        raise PlaitError(
            f"plugin '{candidate.name}' {says}",
            at=Position(file=file, line=1),
            expected=f"expected PLUGIN_API = {PLUGIN_API}",
        )
    return Plugin(
        name=candidate.name,
        version=candidate.version or str(getattr(module, "__version__", "0")),
        file=file,
        hooks=_hooks(candidate.name, module, file),
    )


def _hooks(name: str, module: ModuleType, file: Path) -> pluggy.HookRelay:
    manager = pluggy.PluginManager("plait")
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(module, name=name)
        manager.check_pending()  # a misspelt hook would never be called, without a word
    except pluggy.PluginValidationError as error:
        raise PlaitError(
            f"plugin '{name}': {str(error).splitlines()[-1]}",
            at=Position(file=file, line=1),
            expected=f"expected hooks of PLUGIN_API {PLUGIN_API}",
        ) from error
    return manager.hook


def _import_file(name: str, file: Path) -> ModuleType:
    qualified = f"plait_plugin_{name}"
    spec = spec_from_file_location(qualified, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not Python")
    module = module_from_spec(spec)
    sys.modules[qualified] = module  # dataclasses look their own module up while it is imported
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[qualified]
        raise
    return module
