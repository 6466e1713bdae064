"""`plait render`: the C that a config becomes."""

from pathlib import Path

import click

from plait.core.cli.context import Context, config_option, pass_context


@click.command(
    epilog="""\b
Examples:
  plait render -c configs/quickstart.yaml -o build/c
"""
)
@config_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for the files; made when missing.",
)
@pass_context
def command(context: Context, config: Path, output: Path) -> None:
    """Write the generated C, one file for each hook.

    The plugins' headers are included from where they are, so every message of a compiler or of the
    verifier names their own file and line. compile_flags.txt tells editors where that is.
    """
    from plait.codegen.compile import compile_flags
    from plait.codegen.render import render
    from plait.core.config.load import load_config
    from plait.core.pipeline import plan_config

    plugins = context.load_plugins()
    plan = plan_config(load_config(config, plugins.features()), plugins, context.kernel())
    output.mkdir(parents=True, exist_ok=True)
    for name, source in render(plan).items():
        (output / f"{name}.c").write_text(source, encoding="utf-8")
        click.echo(output / f"{name}.c")
    flags = "\n".join(compile_flags(plan.headers[1:])) + "\n"
    (output / "compile_flags.txt").write_text(flags, encoding="utf-8")
