"""What plugins must agree on before anything is generated: one small rule after another."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from zlib import crc32

from plait.core.api.contract import Contribution, KernelFeature, Stage
from plait.core.config.model import Config
from plait.core.errors import PlaitError
from plait.core.plan.sources import constants

CORE = "core"
NAME_BYTES = 15
"""The kernel cuts what is longer off the name of a map."""
ENTRIES_MAX = 2**32 - 1
_SOCKET_STAGES = (Stage.SERVICE, Stage.POLICY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one plugin (or the core) gives, and the configured features that it gives it for."""

    plugin: str
    features: tuple[str, ...]
    gives: Contribution

    def __str__(self) -> str:
        return CORE if self.plugin == CORE else f"plugin '{self.plugin}'"


def problems(
    parts: Sequence[Part], config: Config, kernel: Mapping[str, bool]
) -> Iterator[PlaitError]:
    """Every problem among these parts."""
    yield from _named_as_core(parts)
    yield from _two_owners(parts)
    yield from _same_drop_id(parts)
    yield from _same_sysctl(parts)
    for part in parts:
        yield from _foreign_names(part)
        yield from _long_map_names(part)
        yield from _impossible_sizes(part)
        yield from _unknown_constants(part)
        yield from _repeated_fragments(part)
        yield from _stages_unknown_to_sockets(part)
        yield from _packets_at_sockets(part)
        yield from _missing_sources(part)
        yield from _missing_requirements(part, config, kernel)


def _named_as_core(parts: Sequence[Part]) -> Iterator[PlaitError]:
    """Headers are found by their owner's name, and messages blame it."""
    if [part.plugin for part in parts].count(CORE) > 1:
        yield PlaitError(
            f"a plugin is named '{CORE}', as the framework's own part is",
            expected="expected another name",
        )


def _two_owners(parts: Sequence[Part]) -> Iterator[PlaitError]:
    """All parts become one C program: a name can mean one thing in it."""
    owners: defaultdict[str, list[str]] = defaultdict(list)
    for part in parts:
        for kind, name in _names(part):
            owners[name].append(f"a {kind} of {part}")
    for name, owned in owners.items():
        if len(owned) > 1:
            yield PlaitError(
                f"'{name}' is {' and '.join(owned)}",
                expected="expected a name that is defined once",
            )


def _names(part: Part) -> Iterator[tuple[str, str]]:
    """(kind, name) of everything that a part defines."""
    gives = part.gives
    functions = dict.fromkeys(fragment.function for fragment in gives.fragments)
    for kind, names in (
        ("header", sorted(file.name for file in gives.headers.glob("*.h"))),
        ("function", functions),
        ("map", (spec.name for spec in gives.maps)),
        ("constant", gives.constants),
        ("size", gives.sizes),
        ("drop reason", gives.drops),
        ("flow part", [gives.flow_part.name] if gives.flow_part else []),
    ):
        for name in names:
            yield kind, name


def _foreign_names(part: Part) -> Iterator[PlaitError]:
    if part.plugin == CORE:
        return
    prefix = part.plugin.replace("-", "_")
    for kind, name in _names(part):
        if not re.match(rf"{re.escape(prefix)}(?=[_.]|$)", name, re.IGNORECASE):
            own = prefix.upper() if name.isupper() else prefix
            yield PlaitError(
                f"{kind} '{name}' of {part} does not start with the plugin's name",
                expected=f"expected '{own}_...'",
            )


def _long_map_names(part: Part) -> Iterator[PlaitError]:
    for spec in part.gives.maps:
        if len(spec.name) > NAME_BYTES:
            yield PlaitError(
                f"map '{spec.name}' of {part} has {len(spec.name)} characters",
                expected=f"expected at most {NAME_BYTES}",
            )


def _impossible_sizes(part: Part) -> Iterator[PlaitError]:
    for spec in part.gives.maps:
        if type(spec.max_entries) is not int or not 0 < spec.max_entries <= ENTRIES_MAX:
            yield PlaitError(
                f"map '{spec.name}' of {part} has max_entries={spec.max_entries}",
                expected=f"expected a whole number from 1 to {ENTRIES_MAX}",
            )
        elif spec.grows_to is not None and not spec.reconciled:
            yield PlaitError(
                f"map '{spec.name}' of {part} may grow, and is not reconciled",
                expected="expected reconciled=True, or no grows_to",
            )
        elif spec.grows_to is not None and not spec.max_entries <= spec.grows_to <= ENTRIES_MAX:
            yield PlaitError(
                f"map '{spec.name}' of {part} has grows_to={spec.grows_to}",
                expected=f"expected a whole number from {spec.max_entries} to {ENTRIES_MAX}",
            )


def _unknown_constants(part: Part) -> Iterator[PlaitError]:
    """A value that nobody asks for: most likely its name is misspelt."""
    if part.plugin == CORE or not part.gives.constants:
        return
    declared = [name for name, _ in constants(part.gives.headers)]
    for name in sorted(part.gives.constants):
        if name not in declared:
            near = get_close_matches(name, declared, n=1)
            yield PlaitError(
                f"{part} gives a value to '{name}', a constant that none of its headers declares",
                expected=f'expected PLAIT_CONST(type, {name}, "...")',
                hint=f"did you mean '{near[0]}'?" if near else None,
            )


def _repeated_fragments(part: Part) -> Iterator[PlaitError]:
    seen = set()
    for each in part.gives.fragments:
        place = (each.hook, each.stage, each.function)
        if place in seen:
            yield PlaitError(
                f"{part} has '{each.function}' twice at {each.hook}, {each.stage}",
                expected="expected each function once at a stage",
            )
        seen.add(place)


def _stages_unknown_to_sockets(part: Part) -> Iterator[PlaitError]:
    for each in part.gives.fragments:
        if each.hook.at_sockets and each.stage not in _SOCKET_STAGES:
            yield PlaitError(
                f"{part} has '{each.function}' at {each.hook}, {each.stage}: sockets have no "
                "such stage",
                expected=f"expected one of {', '.join(_SOCKET_STAGES)}",
            )


def _packets_at_sockets(part: Part) -> Iterator[PlaitError]:
    for test in part.gives.tests:
        if test.hook.at_sockets:
            yield PlaitError(
                f"packet test '{test.name}' of {part} is for {test.hook}, which no packet meets",
                expected="expected a hook of packets",
            )


def _missing_sources(part: Part) -> Iterator[PlaitError]:
    wanted = {(each.header, each.function): r"\b{}\s*\(" for each in part.gives.fragments}
    if part.gives.flow_part:
        wanted[part.gives.flow_part.header, part.gives.flow_part.name] = r"\bstruct\s+{}\b"
    for (header, name), pattern in wanted.items():
        file = part.gives.headers / header
        try:
            text = file.read_text(encoding="utf-8")
        except OSError as error:
            yield PlaitError(f"{part} names '{name}' in {file}: {error.strerror}")
        else:
            if not re.search(pattern.format(re.escape(name)), text):
                yield PlaitError(f"{part} names '{name}', which is not defined in {file}")


def _missing_requirements(
    part: Part, config: Config, kernel: Mapping[str, bool]
) -> Iterator[PlaitError]:
    wanting = ", ".join(f"features.{key}" for key in part.features)
    wanted = f"{part} (wanted by {wanting})" if wanting else str(part)
    at = config.locate(("features", part.features[0]), key=True) if part.features else None
    sockets = any(each.hook.at_sockets for each in part.gives.fragments)
    attaching = (KernelFeature.CGROUP_LINK,) if sockets else ()
    for need in dict.fromkeys((*attaching, *part.gives.requires)):
        if isinstance(need, KernelFeature):
            if not kernel.get(need, False):
                yield PlaitError(
                    f"{wanted} needs the kernel feature '{need}', and this kernel lacks it",
                    at=at,
                    hint="run a newer kernel or remove the feature from the config",
                )
        elif need not in config.sections:
            yield PlaitError(
                f"{wanted} needs the feature '{need}', which is not configured",
                at=at,
                hint=f"add `{need}: {{}}` under `features:`",
            )


def _same_drop_id(parts: Sequence[Part]) -> Iterator[PlaitError]:
    owners: dict[int, tuple[str, Part]] = {}
    for part in parts:
        for name in part.gives.drops:
            other, owner = owners.setdefault(crc32(name.encode()), (name, part))
            if other != name:
                yield PlaitError(
                    f"drop reasons '{other}' of {owner} and '{name}' of {part} have one CRC-32",
                    expected="expected different ones: they are the ids",
                    hint="rename one of them",
                )


def _same_sysctl(parts: Sequence[Part]) -> Iterator[PlaitError]:
    owners: dict[str, tuple[str, Part]] = {}
    for part in parts:
        for sysctl in part.gives.sysctls:
            value, owner = owners.setdefault(sysctl.path, (sysctl.value, part))
            if value != sysctl.value:
                yield PlaitError(
                    f"{owner} needs {sysctl.path} = {value} and {part} needs {sysctl.value}",
                    hint="one node cannot run both",
                )
