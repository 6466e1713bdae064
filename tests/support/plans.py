"""Every plan that can be made of a config: subsets of its features, in each set of families."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, combinations
from pathlib import Path

from plait.core.api import KernelFeature
from plait.core.config.load import load_config
from plait.core.config.model import Config
from plait.core.errors import PlaitError
from plait.core.pipeline import plan_config
from plait.core.plan.model import Plan
from plait.core.plugins import Plugins, load_plugins

ROOT = Path(__file__).parents[2]
PLUGINS = ROOT / "tests" / "plugins"
CONFIGS = [*sorted((ROOT / "configs").glob("*.yaml")), *sorted(PLUGINS.glob("*.yaml"))]
ALL_KERNEL_FEATURES: Mapping[str, bool] = {feature.value: True for feature in KernelFeature}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A plan and what it was made of: `quickstart: lb + routing, IPv4`."""

    name: str
    plan: Plan


def cases() -> Iterator[Case]:
    """Of every file in configs/ and of the tests' plugins, all plans that have a hook."""
    plugins = load_plugins(PLUGINS)
    for file in CONFIGS:
        config = load_config(file, plugins.features())
        for version in (None, 4, 6):
            for features in _subsets(config):
                plan = _plan(_narrowed(config, features, version), plugins)
                if plan is not None:
                    families = f"IPv{version}" if version else "both families"
                    name = f"{file.stem}: {' + '.join(features)}, {families}"
                    yield Case(name=name, plan=plan)


def _subsets(config: Config) -> Iterator[tuple[str, ...]]:
    features = sorted(config.sections)
    sizes = range(1, len(features) + 1)
    return chain.from_iterable(combinations(features, size) for size in sizes)


def _narrowed(config: Config, features: tuple[str, ...], version: int | None) -> Config:
    networks = tuple(
        network for network in config.node.pod_cidrs if version in (None, network.version)
    )
    return replace(
        config,
        node=replace(config.node, pod_cidrs=networks),
        sections={key: config.sections[key] for key in features},
    )


def _plan(config: Config, plugins: Plugins) -> Plan | None:
    """The plan, or None when a feature wants another one that is left out."""
    try:
        return plan_config(config, plugins, ALL_KERNEL_FEATURES)
    except PlaitError as error:
        if "needs the feature" in str(error):
            return None
        raise
