"""`plait lab`: a network of namespaces on this machine, to try things in and then throw away."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import click

from plait.core.cli.context import json_option

lab_option = click.option("--lab", "name", help="The lab, where several are up.")


@click.group(
    epilog="""\b
Examples:
  plait lab up lab.yaml
  plait lab exec client -- ping -c 3 10.244.2.10
  plait lab status
  plait lab down
"""
)
def command() -> None:
    """Labs: hosts, wires and pods made of network namespaces."""


@command.command(
    epilog="""\b
Examples:
  plait lab up configs/labs/quickstart.yaml
"""
)
@click.argument("file", type=click.Path(path_type=Path))
def up(file: Path) -> None:
    """Build the lab in FILE; repeated, it puts right what is missing."""
    from plait.core.lab.lab import Lab
    from plait.core.lab.topology import load_topology

    lab = Lab.up(load_topology(file))
    click.echo(f"lab {lab.name} is up: {', '.join([*lab.hosts, *lab.pods])}")


@command.command(
    "exec",
    context_settings={"ignore_unknown_options": True},
    epilog="""\b
Examples:
  plait lab exec client -- ping -c 3 10.244.2.11
  plait lab exec --lab quickstart node-a -- plait --instance quickstart-node-a status
""",
)
@lab_option
@click.argument("where", metavar="HOST|POD")
@click.argument("words", metavar="-- COMMAND...", nargs=-1, required=True)
def run(name: str | None, where: str, words: tuple[str, ...]) -> None:
    """Run a command on a host or pod of the lab."""
    from plait.core.lab.lab import Lab

    line = Lab.find(name).command(where, *words)
    os.execvp(line[0], line)


@command.command(
    epilog="""\b
Examples:
  plait lab status
  plait lab status --json | jq -r '.[].hosts[].namespace'
"""
)
@json_option
def status(as_json: bool) -> None:
    """Show the labs that are up: hosts, pods, addresses, instances."""
    from plait.core.lab.state import load_all

    states = load_all()
    if as_json:
        click.echo(json.dumps([asdict(state) for state in states], indent=2))
        return
    for state in states:
        click.echo(f"lab {state.name}")
        for host in state.hosts:
            click.echo(f"  {host.name}: {', '.join(host.addresses)} (instance {host.namespace})")
            for pod in state.pods:
                if pod.host == host.name:
                    click.echo(f"    {pod.name}: {', '.join(pod.addresses)}")
    if not states:
        click.echo("no lab is up")


@command.command(
    epilog="""\b
Examples:
  plait lab down
  plait lab down quickstart
"""
)
@click.argument("name", required=False)
def down(name: str | None) -> None:
    """Take the lab NAME down, with every process in it; without NAME, the one that is up."""
    from plait.core.lab.lab import Lab
    from plait.core.lab.state import load_all

    if not any(name in (None, state.name) for state in load_all()):
        click.echo("nothing to take down")
        return
    lab = Lab.find(name)
    lab.down()
    click.echo(f"lab {lab.name} is down")
