"""`plait apply`: once, with no agent."""

import json
from pathlib import Path

import click

from plait.core.cli.context import Context, config_option, json_option, pass_context


@click.command(
    epilog="""\b
Examples:
  plait apply -c configs/quickstart.yaml
  plait apply --json | jq .generation
"""
)
@config_option
@json_option
@pass_context
def command(context: Context, config: Path, as_json: bool) -> None:
    """Make a config and its objects run, and end.

    Nothing follows later changes: that is what `plait run` is for.
    """
    from plait.core.errors import raise_all
    from plait.core.runtime.capacity import nearly_full
    from plait.core.runtime.lock import held
    from plait.core.runtime.node import Node

    paths = context.paths()
    with held(paths):
        node = Node(paths, context.load_plugins())
        applied = node.apply(config)
    full = (use.warning for use in nearly_full(node.uses({})))
    for warning in (*applied.warnings, *node.warnings, *full):
        click.echo(f"warning: {warning}", err=True)
    state = node.datapath.state
    number = state.generation if state else 0
    if as_json:
        click.echo(
            json.dumps(
                {
                    "generation": number,
                    "swapped": applied.swapped is not None,
                    "compiled": applied.compiled,
                    "written": applied.outcome.updated,
                    "removed": applied.outcome.deleted,
                    "problems": [str(problem) for problem in node.problems],
                }
            )
        )
    else:
        what = "runs" if applied.swapped else "runs already"
        click.echo(
            f"generation {number} {what}; map entries: {applied.outcome.updated} written, "
            f"{applied.outcome.deleted} removed"
        )
    raise_all(node.problems)
