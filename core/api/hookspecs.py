"""The whole plugin contract: the functions that a plugin may define."""

from __future__ import annotations

import click
import pluggy

from plait.core.api.contract import Contribution, Feature, Handler, Metric
from plait.core.api.controllers import Controller
from plait.core.config.model import Config
from plait.core.objects.model import Object

hookspec = pluggy.HookspecMarker("plait")
hookimpl = pluggy.HookimplMarker("plait")


@hookspec
def plait_features() -> tuple[Feature, ...]:  # type: ignore[empty-body]
    """The config keys this plugin owns."""


@hookspec
def plait_kinds() -> tuple[type[Object], ...]:  # type: ignore[empty-body]
    """Kinds of objects that this plugin adds to those of the core."""


@hookspec
def plait_contribute(config: Config) -> Contribution | None:
    """What this plugin adds to the datapath, or None when none of its features is configured."""


@hookspec
def plait_handlers(config: Config) -> tuple[Handler, ...]:  # type: ignore[empty-body]
    """The control plane: how objects become map entries."""


@hookspec
def plait_metrics(config: Config) -> tuple[Metric, ...]:  # type: ignore[empty-body]
    """What this plugin tells of its maps to Prometheus."""


@hookspec
def plait_controllers(config: Config) -> tuple[Controller, ...]:  # type: ignore[empty-body]
    """The control plane that acts elsewhere than in maps; only an agent runs it."""


@hookspec
def plait_commands() -> tuple[click.Command, ...]:  # type: ignore[empty-body]
    """Verbs that this plugin adds to the `plait` command."""
