"""The pages of the datapath: hooks with their stages and fragments, and why packets are dropped."""

import ast
import inspect
from collections.abc import Iterator
from enum import Enum
from itertools import pairwise, product
from textwrap import dedent

from plait.core.api.contract import Contribution, Hook, Stage
from plait.core.config.model import Config, NodeConfig
from plait.core.config.settings import build
from plait.core.plan.core import core_contribution
from plait.core.plugins import Plugins
from plait.core.reference.markdown import page, table


def hooks_reference(plugins: Plugins) -> str:
    """Where programs are attached, the stages of each, and what runs at them."""
    where, when = member_docs(Hook), member_docs(Stage)
    contributions = list(_contributions(plugins))
    fragments = [
        (f"`{hook}`", f"`{stage}`", f"`{each.function}`", f"{owner}: {each.header}")
        for hook, stage in product(Hook, Stage)
        for owner, gives in contributions
        for each in gives.fragments
        if (each.hook, each.stage) == (hook, stage)
    ]
    return page(
        "# Hooks and stages",
        "Generated from `plait.core.api`, and from what the plugins contribute.",
        "## Hooks",
        table(("hook", "meaning"), ((f"`{hook}`", where[hook.name]) for hook in Hook)),
        "## Stages",
        inspect.cleandoc(Stage.__doc__ or ""),
        table(("stage", "meaning"), ((f"`{stage}`", when[stage.name]) for stage in Stage)),
        "## Fragments",
        "What the plugins here run at each, when all of their features are on.",
        table(("hook", "stage", "fragment", "from"), fragments),
    )


def drops_reference(plugins: Plugins) -> str:
    """Every drop reason, with the sentence that people read."""
    rows = [
        (f"`{name}`", owner, sentence)
        for owner, gives in _contributions(plugins)
        for name, sentence in sorted(gives.drops.items())
    ]
    return page(
        "# Drop reasons",
        "Generated from what the framework and the plugins contribute.",
        table(("reason", "from", "meaning"), rows),
    )


def member_docs(kind: type[Enum]) -> dict[str, str]:
    """The docstring below each member, by the member's name; Python itself forgets them."""
    (definition,) = ast.parse(dedent(inspect.getsource(kind))).body
    assert isinstance(definition, ast.ClassDef)
    return {
        target.id: str(text)
        for statement, following in pairwise(definition.body)
        if isinstance(statement, ast.Assign)
        and isinstance(target := statement.targets[0], ast.Name)
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
        if (text := following.value.value)
    }


def all_features(plugins: Plugins) -> Config:
    """A config with all features on, each with its defaults."""
    sections: dict[str, object] = {
        feature.key: build(feature.config, {}) for feature in plugins.features()
    }
    return Config(node=NodeConfig(name="node"), sections=sections)


def _contributions(plugins: Plugins) -> Iterator[tuple[str, Contribution]]:
    """What everybody gives when all features are on."""
    config = all_features(plugins)
    yield "core", core_contribution(config)
    for use, contribution in plugins.contributions(config):
        yield use.name, contribution
