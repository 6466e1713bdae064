"""`plait rollback`: the generation before, at once."""

from typing import TYPE_CHECKING

import click

from plait.core.cli.context import Context, pass_context

if TYPE_CHECKING:
    from plait.core.kernel.pins import Paths
    from plait.core.runtime.agent import Status

PATIENCE = 30.0
"""Seconds that the agent may take: it may be about to finish something else."""


@click.command(
    epilog="""\b
Examples:
  plait rollback
"""
)
@pass_context
def command(context: Context) -> None:
    """Run the generation before this one again.

    A running agent is told to do it, and leaves things so until the config is edited.
    """
    from plait.core.runtime.lock import held
    from plait.core.runtime.node import Node
    from plait.core.runtime.reading import read_agent

    paths = context.paths()
    agent = read_agent(paths.run)
    if agent is not None:
        click.echo(f"generation {_by_agent(paths, agent)} runs until the config is edited")
        return
    with held(paths):
        node = Node(paths, context.load_plugins())
        try:
            click.echo(f"generation {node.rollback()} runs")
        finally:
            node.datapath.close()


def _by_agent(paths: "Paths", agent: "Status") -> int:
    """Tell the agent, and wait until it has done so; the number of the generation that runs."""
    import os
    import signal
    import time

    from plait.core.errors import PlaitError, SystemProblem
    from plait.core.runtime.reading import read_agent

    os.kill(agent.pid, signal.SIGUSR2)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        now = read_agent(paths.run)
        if now is None:
            break
        if now.rollbacks > agent.rollbacks:
            if now.error:
                raise PlaitError(now.error)
            return now.generation
        time.sleep(0.05)
    raise SystemProblem(
        f"the agent (process {agent.pid}) has not rolled back", hint="its log says why"
    )
