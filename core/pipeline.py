"""From a YAML file to a running datapath: READ THIS FIRST, the steps as calls.

    load_config      YAML            -> Config      core/config
    make_plan        + plugins, kernel -> Plan      core/plan
    render           Plan            -> C           codegen/render
    compile_sources  C               -> objects     codegen/compile
    prove            packet tests on a trial load   core/runtime/proving
    Datapath.replace load, migrate, swap, commit    core/runtime/datapath
    Reconciler.sync  objects of a source -> maps    core/control

Nothing touches live traffic before the last two, and a failure in any of them leaves what runs
as it was.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from plait.codegen.compile import Compiled, compile_sources
from plait.codegen.render import render
from plait.core.config.model import Config
from plait.core.errors import PlaitError
from plait.core.plan.build import make_plan
from plait.core.plan.core import core_contribution
from plait.core.plan.growth import resized
from plait.core.plan.model import Plan
from plait.core.plugins import Plugins
from plait.core.runtime.constants import check_constants


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A plan and its objects, ready to load. `keys` tell each object's content from another's."""

    plan: Plan
    compiled: Compiled
    keys: Mapping[str, str]

    def resized(self, entries: Mapping[str, int]) -> "Prepared":
        """The same, with another size of these maps: programs do not depend on it."""
        return replace(self, plan=resized(self.plan, entries))


def plan_config(config: Config, plugins: Plugins, kernel: Mapping[str, bool]) -> Plan:
    """The plan of a config: pure but for reading the plugins' headers."""
    contributions = plugins.contributions(config)
    hooks = {fragment.hook for _, gives in contributions for fragment in gives.fragments}
    core = core_contribution(config, flows=not all(hook.at_sockets for hook in hooks))
    plan = make_plan(config, contributions, kernel, core)
    if not plan.hooks:
        keys = [feature.key for feature in plugins.features()]
        raise PlaitError(
            "the config turns on nothing that runs at a hook",
            at=config.locate(("features",), key=True),
            expected=f"one of these features at least: {', '.join(keys)}",
            hint="add `features: {routing: {}}`",
        )
    return plan


def prepare(plan: Plan, cache: Path) -> Prepared:
    """Render and compile a plan; objects that the cache has are not compiled again."""
    compiled = compile_sources(render(plan), plan.headers, cache)
    check_constants(plan, compiled.objects)
    return Prepared(plan=plan, compiled=compiled, keys=content_keys(plan, compiled.objects))


def content_keys(plan: Plan, objects: Mapping[str, bytes]) -> dict[str, str]:
    """What decides whether running programs are still right: their object, its constants."""
    constants = repr(plan.constants).encode()
    return {name: sha256(image + constants).hexdigest() for name, image in objects.items()}
