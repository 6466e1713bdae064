"""`plait render`: the C that a config becomes."""

from pathlib import Path

import click

from plait.core.cli.context import Context, config_option, pass_context


@click.command(
    epilog="""\b
Examples:
  plait render -c configs/quickstart.yaml -o build/c
  cd build/c && clang @compile_flags.txt -c pod_egress.c
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

    Beside the files are links to the folders of headers: core, and each plugin's. `#line` says
    where a fragment that is called is defined: messages about the call name the plugin's file, too.
    compile_flags.txt holds clang's options, for editors and for who compiles a file by hand.
    """
    from plait.codegen.compile import compile_flags, link_headers
    from plait.codegen.render import render
    from plait.core.config.load import load_config
    from plait.core.errors import SystemProblem
    from plait.core.pipeline import plan_config

    plugins = context.load_plugins()
    plan = plan_config(load_config(config, plugins.features()), plugins, context.kernel())
    flags = "\n".join(compile_flags(plan.headers)) + "\n"
    try:
        output.mkdir(parents=True, exist_ok=True)
        link_headers(output, plan.headers)
        (output / "compile_flags.txt").write_text(flags, encoding="utf-8")
        for name, source in render(plan).items():
            (output / f"{name}.c").write_text(source, encoding="utf-8")
            click.echo(output / f"{name}.c")
    except OSError as error:
        raise SystemProblem(f"the C cannot be written: {error}") from error
