"""`plait rollback`: the generation before, at once."""

import click

from plait.core.cli.context import Context, pass_context


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
    import os
    import signal

    from plait.core.runtime.lock import held
    from plait.core.runtime.node import Node
    from plait.core.runtime.reading import read_agent

    paths = context.paths()
    agent = read_agent(paths.run)
    if agent is not None:
        os.kill(agent.pid, signal.SIGUSR2)
        click.echo(f"the agent (process {agent.pid}) is told to roll back")
        return
    with held(paths):
        node = Node(paths, context.load_plugins())
        try:
            click.echo(f"generation {node.rollback()} runs")
        finally:
            node.datapath.close()
