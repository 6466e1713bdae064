"""`plait run`: the agent in the foreground."""

from pathlib import Path

import click

from plait.core.cli.context import Context, config_option, pass_context


@click.command(
    epilog="""\b
Examples:
  plait run
  plait run -c configs/quickstart.yaml
  kill -HUP PID     # apply the config again
  kill -USR2 PID    # back to the generation before
"""
)
@config_option
@pass_context
def command(context: Context, config: Path) -> None:
    """Apply a config, and follow every change of it.

    Watches the config and its objects, network interfaces and routes. Ends with SIGTERM; the
    datapath goes on without the agent, and the next start adopts it.
    """
    import logging

    from plait.core.runtime.agent import Agent
    from plait.core.runtime.lock import held

    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s.%(msecs)03d %(levelname)s %(message)s",
        datefmt="%H:%M:%S",
    )  # fmt: skip
    paths = context.paths()
    with held(paths):
        Agent(config, paths, context.load_plugins()).run()
