"""Config, contributions and kernel features to one `Plan`: the same plan in whatever order."""

from collections.abc import Iterator, Mapping, Sequence
from zlib import crc32

from plait.core.api.contract import Contribution, Hook, Stage
from plait.core.config.model import Config
from plait.core.errors import PlaitError, raise_all
from plait.core.plan.check import CORE, Part, problems
from plait.core.plan.model import DropReason, HookPlan, MapPlan, Plan, PluginUse, Step
from plait.core.plan.order import Owned, in_order
from plait.core.plan.sources import function_line


def make_plan(
    config: Config,
    contributions: Sequence[tuple[PluginUse, Contribution]],
    kernel: Mapping[str, bool],
    core: Contribution,
) -> Plan:
    """Resolve `contributions`, and what the framework itself brings (`core`), into a plan.

    Core comes first, then plugins by name; maps, tests and fragments keep a plugin's own order. A
    hook that nobody needs is left out. `headers` has the folders of C headers by their owners, in
    the same order. `kernel` says which `KernelFeature`s there are. Raises every problem at once,
    each naming the plugins it is about.
    """
    used = sorted(contributions, key=lambda each: each[0].name)
    parts = (
        Part(plugin=CORE, features=(), gives=core),
        *(Part(plugin=use.name, features=use.features, gives=gives) for use, gives in used),
    )
    found = list(problems(parts, config, kernel))
    hooks = tuple(_hooks(parts, found))
    raise_all(found)
    return Plan(
        config=config,
        plugins=tuple(use for use, _ in used),
        hooks=hooks,
        maps=tuple(
            MapPlan(plugin=each.plugin, spec=spec) for each in parts for spec in each.gives.maps
        ),
        parts=tuple(each.gives.flow_part for each in parts if each.gives.flow_part),
        drops=tuple(_drops(parts)),
        constants=tuple(
            (name, int(value))
            for each in parts
            for name, value in sorted(each.gives.constants.items())
        ),
        sizes=tuple(size for each in parts for size in sorted(each.gives.sizes.items())),
        headers={each.plugin: each.gives.headers for each in parts},
        tests=tuple(test for each in parts for test in each.gives.tests),
        sysctls=tuple(dict.fromkeys(sysctl for each in parts for sysctl in each.gives.sysctls)),
        kernel=dict(sorted(kernel.items())),
    )


def _hooks(parts: Sequence[Part], found: list[PlaitError]) -> Iterator[HookPlan]:
    """The hooks that somebody needs. Circles at their stages are added to `found`."""
    flow_parts = {each.plugin: each.gives.flow_part.name for each in parts if each.gives.flow_part}
    headers = {each.plugin: each.gives.headers for each in parts}
    needed = {hook for each in parts for hook in each.gives.hooks}
    for hook in Hook:
        steps: list[Step] = []
        for stage in Stage:
            try:
                ordered = in_order(_fragments(parts, hook, stage))
            except PlaitError as error:
                found.append(error)
                continue
            steps += (
                Step(
                    stage=stage,
                    plugin=each.plugin,
                    fragment=each.fragment,
                    part=flow_parts.get(each.plugin),
                    line=function_line(
                        headers[each.plugin] / each.fragment.header, each.fragment.function
                    ),
                )
                for each in ordered
            )
        if steps or hook in needed:
            yield HookPlan(hook=hook, steps=tuple(steps))


def _fragments(parts: Sequence[Part], hook: Hook, stage: Stage) -> tuple[Owned, ...]:
    return tuple(
        Owned(plugin=each.plugin, index=index, fragment=fragment)
        for each in parts
        for index, fragment in enumerate(each.gives.fragments)
        if fragment.hook is hook and fragment.stage is stage
    )


def _drops(parts: Sequence[Part]) -> Iterator[DropReason]:
    for each in parts:
        for name, sentence in sorted(each.gives.drops.items()):
            yield DropReason(
                id=crc32(name.encode()), name=name, plugin=each.plugin, sentence=sentence
            )
