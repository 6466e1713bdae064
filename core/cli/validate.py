"""`plait validate`: is this config right? Every problem at once, each with its place."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from plait.core.cli.context import Context, any_kernel, config_option, json_option, pass_context
from plait.core.errors import PlaitError, Problems

if TYPE_CHECKING:
    from plait.core.plan.model import Plan


@click.command(
    epilog="""\b
Examples:
  plait validate
  plait validate -c configs/quickstart.yaml
  plait validate --json -c plait.yaml | jq '.problems[].line'
"""
)
@config_option
@json_option
@pass_context
def command(context: Context, config: Path, as_json: bool) -> None:
    """Check a config, and touch nothing.

    It may be the config of another machine: an interface that this one lacks is a warning, and so
    is a cgroup.
    """
    try:
        checked = _check(context, config)
    except PlaitError as error:
        if not as_json:
            raise
        problems = error.errors if isinstance(error, Problems) else (error,)
        answer = {"valid": False, "problems": _plain(problems), "warnings": []}
        click.echo(json.dumps(answer, indent=2))
        raise SystemExit(error.exit_status) from None
    warnings = _warnings(checked)
    if as_json:
        answer = {"valid": True, "problems": [], "warnings": _plain(warnings)}
        click.echo(json.dumps(answer, indent=2))
        return
    for warning in warnings:
        click.echo(f"warning: {warning.explain()}", err=True)
    click.echo(f"{config}: valid; features: {', '.join(checked.config.sections)}")


def _check(context: Context, path: Path) -> "Plan":
    """The plan of the config, on a kernel that has what it takes."""
    from plait.core.config.load import load_config
    from plait.core.pipeline import plan_config

    plugins = context.load_plugins()
    return plan_config(load_config(path, plugins.features()), plugins, any_kernel())


def _warnings(plan: "Plan") -> tuple[PlaitError, ...]:
    """What is wrong with it on this machine."""
    from plait.core.endpoints.links import links
    from plait.core.runtime.devices import missing_cgroup, missing_devices

    present = {link.name for link in links()} if plan.config.node.devices else ()
    return (*missing_devices(plan.config, present), *missing_cgroup(plan))


def _plain(errors: Iterable[PlaitError]) -> list[dict[str, object]]:
    return [
        {
            "file": str(each.at.file) if each.at else None,
            "line": each.at.line if each.at else None,
            "column": each.at.column if each.at else None,
            "what": each.what,
            "expected": each.expected,
            "hint": each.hint,
        }
        for each in errors
    ]
