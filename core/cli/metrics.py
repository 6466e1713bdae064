"""`plait metrics`: what runs, as Prometheus reads it."""

from pathlib import Path

import click

from plait.core.cli.context import Context, pass_context


@click.command(
    epilog="""\b
Examples:
  plait metrics
  plait metrics --write /var/lib/node_exporter/textfile/plait.prom
"""
)
@click.option(
    "--write",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Replace a file as a whole, for node_exporter's textfile collector, and print nothing.",
)
@pass_context
def command(context: Context, write: Path | None) -> None:
    """Print metrics in the text format of Prometheus, those of plugins included.

    docs/reference/metrics.md lists them.
    """
    from plait.core.runtime.metrics import read_metrics
    from plait.core.runtime.state import write_text

    text = read_metrics(context.paths(), context.load_plugins())
    if write is None:
        click.echo(text, nl=False)
    else:
        write_text(write, text)
