"""The page of the command line: every verb, as `--help` says it."""

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from plait.core.cli import plait
from plait.core.reference.markdown import page, table


def cli_reference(plugins_folder: Path) -> str:
    """Every verb with its usage, its options and its examples, those of plugins included."""
    context = click.Context(plait, info_name="plait")
    context.params["plugins_dir"] = plugins_folder
    return page(
        "# Command line",
        "Generated from the verbs themselves; `plait VERB --help` says the same.",
        *_verb(context),
    )


def _verb(context: click.Context) -> Iterator[str]:
    """The section of a verb, and those of its own verbs."""
    command = context.command
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield f"## {context.command_path}"
    yield f"    {usage}"
    yield inspect.cleandoc(command.help or command.short_help or "")
    given = (each for each in command.params if isinstance(each, click.Option))
    records = filter(None, (option.get_help_record(context) for option in given))
    options = [(f"`{names}`", meaning) for names, meaning in records]
    if options:
        yield table(("option", "meaning"), options)
    if command.epilog:
        yield _epilog(command.epilog)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            verb = command.get_command(context, name)
            if verb and not verb.hidden:
                yield from _verb(click.Context(verb, info_name=name, parent=context))


def _epilog(text: str) -> str:
    """The character \\b begins what click leaves as it is: examples."""
    if "\b" not in text:
        return text.strip()
    examples = inspect.cleandoc(text.replace("\b", ""))
    return f"```console\n{examples}\n```"
