"""`plait validate`: is this config right? Every problem at once, each with its place."""

import json
from pathlib import Path

import click

from plait.core.cli.context import Context, config_option, json_option, pass_context
from plait.core.errors import PlaitError, Problems


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
    """Check a config, and touch nothing."""
    try:
        sections = context.load_config(config).sections
    except PlaitError as error:
        if not as_json:
            raise
        click.echo(json.dumps({"valid": False, "problems": _problems(error)}, indent=2))
        raise SystemExit(error.exit_status) from None
    if as_json:
        click.echo(json.dumps({"valid": True, "problems": []}, indent=2))
    else:
        click.echo(f"{config}: valid; features: {', '.join(sections) or 'none'}")


def _problems(error: PlaitError) -> list[dict[str, object]]:
    errors = error.errors if isinstance(error, Problems) else (error,)
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
