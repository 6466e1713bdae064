"""`plait plan`: what would run, and what that would change."""

import json
from pathlib import Path

import click

from plait.core.cli.context import Context, config_option, json_option, pass_context


@click.command(
    epilog="""\b
Examples:
  plait plan -c configs/quickstart.yaml
  plait plan --load
  plait plan --json | jq '.keys[] | select(.effect == "program swap")'
"""
)
@config_option
@click.option("--load", is_flag=True, help="Also pass the verifier and the packet tests.")
@json_option
@pass_context
def command(context: Context, config: Path, load: bool, as_json: bool) -> None:
    """Show what a config would run, and how it differs from what runs now.

    Compiles, but attaches nothing and writes to no map that is in use.
    """
    from plait.core.config.load import load_config
    from plait.core.kernel.features import probe
    from plait.core.pipeline import plan_config, prepare
    from plait.core.runtime.generation import Generation
    from plait.core.runtime.preview import preview
    from plait.core.runtime.state import State

    paths = context.paths()
    plugins = context.load_plugins()
    plan = plan_config(load_config(config, plugins.features()), plugins, probe())
    prepared = prepare(plan, paths.cache)
    state = State.read(paths.run)
    running = Generation.pinned(paths.pins, state.generation) if state else None
    found = preview(prepared, plugins, state, running, load_with=paths.cache if load else None)
    if running:
        running.close()
    if as_json:
        click.echo(json.dumps(found.plain(), indent=1))
        return
    click.echo(found.text)
    click.echo("against what runs" if running else "nothing runs yet")
    for name, change in {**found.programs, **found.maps}.items():
        click.echo(f"  {name:<16} {change}")
    for each in found.keys:
        effect = each.effect or "not alone"
        click.echo(f"  {each.key}: {each.before} -> {each.after}  ({effect})")
    if found.loaded:
        click.echo(f"\nloaded in {found.loaded.seconds * 1000:.0f} ms; instructions")
        for name, count in found.loaded.instructions.items():
            click.echo(
                f"  {name:<16} {count:>6}, the verifier walked {found.loaded.verified[name]}"
            )
