"""Help texts: every command shows how it is used."""

from collections.abc import Iterator

import click
import pytest

from plait.core import cli


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every verb of Plait's own, and what is below it, by the words that call it."""
    for name in cli._own_verbs():
        yield from below(name, cli.plait.get_command(click.Context(cli.plait), name))


def below(words: str, command: click.Command | None) -> Iterator[tuple[str, click.Command]]:
    assert command
    yield words, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from below(f"{words} {name}", inner)


COMMANDS = dict(commands())


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_has_an_example(words: str) -> None:
    examples = (COMMANDS[words].epilog or "").partition("Example")[2]

    assert f"plait {words}" in examples
