"""`plait status`: what runs, where, and what is wrong."""

import json
import time
from typing import TYPE_CHECKING

import click

from plait.core.cli.context import Context, json_option, pass_context

if TYPE_CHECKING:
    from plait.core.runtime.capacity import MapUse


@click.command(
    epilog="""\b
Examples:
  plait status
  plait status --json | jq .generation
"""
)
@json_option
@pass_context
def command(context: Context, as_json: bool) -> None:
    """Show the generation that runs, where it is attached, and what the agent complains of.

    Exit status 1 when something is wrong: a config or object that was refused.
    """
    from plait.core.errors import ExitStatus
    from plait.core.runtime.status import read_status

    status = read_status(context.paths())
    if as_json:
        click.echo(json.dumps(status.plain(), indent=1))
    elif status.state is None:
        click.echo(f"nothing runs in instance {context.instance}")
    else:
        age = time.time() - status.state.applied
        click.echo(f"generation  {status.state.generation}, since {age:.0f} s")
        click.echo(f"config      {status.state.config}")
        agent = status.agent
        click.echo(f"agent       {f'process {agent.pid}' if agent else 'none'}")
        if agent and agent.held:
            click.echo("            rolled back: edit the config to leave this generation")
        for place in status.places:
            what = f"{place.program} by {place.mechanism}"
            if place.others:
                what += f"; not ours: {', '.join(place.others)}"
            where = f"device      {place.device}" if place.device else f"cgroup      {place.cgroup}"
            click.echo(f"{where}: {what}")
        for use in status.maps:
            click.echo(f"map         {_use(use)}")
        for reason, count in status.drops.items():
            click.echo(f"dropped     {count} {reason}")
        for warning in status.warnings:
            click.echo(f"warning     {warning}")
        for problem in status.problems:
            click.echo(problem, err=True)
    if status.problems:
        raise SystemExit(ExitStatus.BAD_INPUT)


def _use(use: "MapUse") -> str:
    room = f"{use.entries:,} of {use.capacity:,} entries ({use.percent} %)"
    growth = f", up to {use.bound:,} by growth" if use.bound > use.capacity else ""
    return f"{use.name}: {room}{growth}; {use.key}"
