"""Ask the loaded plugins for what they give, in the order of their names."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import click

from plait.core.api.contract import (
    Contribution,
    EntriesByMap,
    Feature,
    Handler,
    Metric,
    MetricKind,
    Sample,
)
from plait.core.api.controllers import Controller
from plait.core.config.model import Config
from plait.core.config.settings import json_schema
from plait.core.errors import PlaitError, raise_all
from plait.core.objects.model import Object
from plait.core.plan.model import PluginUse
from plait.core.plugins.model import Plugin, blame

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugins:
    """The loaded plugins, by name. Each method raises `PlaitError` naming the one at fault."""

    plugins: tuple[Plugin, ...]

    def features(self) -> tuple[Feature, ...]:
        """The features of all plugins. Raises for a key that two plugins own."""
        owned = [(plugin, each) for plugin in self.plugins for each in self.features_of(plugin)]
        _refuse_two_owners((plugin, f"feature '{feature.key}'") for plugin, feature in owned)
        return tuple(feature for _, feature in owned)

    def features_of(self, plugin: Plugin) -> tuple[Feature, ...]:
        """The features that one plugin owns."""
        features = self._ask(plugin, "plait_features", Feature)
        with blame(plugin.name, "to describe its config"):
            for feature in features:
                json_schema(feature.config)
        return features

    def kinds(self) -> tuple[type[Object], ...]:
        """The kinds of objects that plugins add. Raises for one that two plugins add."""
        owned = [(plugin, kind) for plugin in self.plugins for kind in self._kinds_of(plugin)]
        _refuse_two_owners((plugin, f"kind '{kind.kind}'") for plugin, kind in owned)
        return tuple(kind for _, kind in owned)

    def contributions(self, config: Config) -> tuple[tuple[PluginUse, Contribution], ...]:
        """What each plugin adds to the plan; plugins that add nothing are left out."""
        return tuple(
            (self._use(plugin, config), contribution)
            for plugin in self.plugins
            for contribution in self._ask(plugin, "plait_contribute", Contribution, config=config)
        )

    def handlers(self, config: Config) -> tuple[Handler, ...]:
        """The control plane of all plugins."""
        return tuple(
            handler
            for plugin in self.plugins
            for handler in self._ask(plugin, "plait_handlers", Handler, config=config)
        )

    def metrics(self, config: Config) -> tuple[tuple[Plugin, Metric], ...]:
        """What plugins tell of their maps. Raises for a name that is not the plugin's own."""
        owned = tuple(
            (plugin, metric)
            for plugin in self.plugins
            for metric in self._ask(plugin, "plait_metrics", Metric, config=config)
        )
        raise_all(
            PlaitError(
                f"{plugin} has the metric '{metric.name}'",
                expected=f"expected {_metric_name(plugin, metric.kind)}",
            )
            for plugin, metric in owned
            if not re.fullmatch(_metric_name(plugin, metric.kind), metric.name)
        )
        _refuse_two_owners((plugin, f"metric '{metric.name}'") for plugin, metric in owned)
        return owned

    def samples(
        self, config: Config, entries: EntriesByMap
    ) -> tuple[tuple[Metric, tuple[Sample, ...]], ...]:
        """The samples of the plugins' metrics, read from these entries."""
        return tuple(
            (metric, _samples(plugin, metric, entries)) for plugin, metric in self.metrics(config)
        )

    def controllers(self, config: Config) -> tuple[Controller, ...]:
        """What an agent with this config runs. Raises for a name that two plugins give."""
        owned = [
            (plugin, controller)
            for plugin in self.plugins
            for controller in self._ask(plugin, "plait_controllers", Controller, config=config)
        ]
        _refuse_two_owners((plugin, f"controller '{each.name}'") for plugin, each in owned)
        return tuple(controller for _, controller in owned)

    def commands(self) -> tuple[click.Command, ...]:
        """The verbs that plugins add. Raises for one that two plugins add."""
        owned = [
            (plugin, command)
            for plugin in self.plugins
            for command in self._ask(plugin, "plait_commands", click.Command)
        ]
        _refuse_two_owners((plugin, f"command '{command.name}'") for plugin, command in owned)
        return tuple(command for _, command in owned)

    def _kinds_of(self, plugin: Plugin) -> tuple[type[Object], ...]:
        return self._ask(plugin, "plait_kinds", type)

    def _use(self, plugin: Plugin, config: Config) -> PluginUse:
        keys = tuple(each.key for each in self.features_of(plugin) if each.key in config.sections)
        return PluginUse(name=plugin.name, version=plugin.version, features=keys)

    def _ask(self, plugin: Plugin, hook: str, kind: type[T], **arguments: object) -> tuple[T, ...]:
        with blame(plugin.name, f"in {hook}"):
            answers = getattr(plugin.hooks, hook)(**arguments)
            given = [
                item
                for answer in answers
                for item in (answer if isinstance(answer, tuple | list) else [answer])
            ]
            for item in given:
                if not isinstance(item, kind):
                    raise TypeError(f"expected {kind.__name__}, not {item!r}")
        return tuple(given)


def _metric_name(plugin: Plugin, kind: MetricKind) -> str:
    """The names that a plugin's metrics may have, as a regular expression."""
    end = "_total" if kind is MetricKind.COUNTER else "(?<!_total)"
    return f"plait_{plugin.name.replace('-', '_')}_[a-z0-9_]+{end}"


def _samples(plugin: Plugin, metric: Metric, entries: EntriesByMap) -> tuple[Sample, ...]:
    with blame(plugin.name, f"to tell {metric.name}"):
        samples = tuple(metric.samples(entries))
        for sample in samples:
            if sample.labels.keys() != set(metric.labels):
                raise TypeError(f"expected the labels {metric.labels}, not {sample.labels}")
    return samples


def _refuse_two_owners(owned: Iterable[tuple[Plugin, str]]) -> None:
    owners: dict[str, Plugin] = {}
    problems = []
    for plugin, what in owned:
        other = owners.setdefault(what, plugin)
        if other is not plugin:
            problems.append(
                PlaitError(
                    f"{what} has two owners: {other} in {other.file} and {plugin} in {plugin.file}",
                    hint="remove one of the two plugins",
                )
            )
    raise_all(problems)
