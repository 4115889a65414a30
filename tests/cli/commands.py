"""The commands of `dr`, those of groups included."""

from collections.abc import Iterator

import typer

from dr_pipelines.cli.app import app


def commands() -> dict[str, typer.core.TyperCommand]:
    """By the words that call them, in the order of the help."""
    return dict(_commands(typer.main.get_command(app), ()))


def _commands(
    command: object, words: tuple[str, ...]
) -> Iterator[tuple[str, typer.core.TyperCommand]]:
    if isinstance(command, typer.core.TyperGroup):
        for name, inner in command.commands.items():
            yield from _commands(inner, (*words, name))
    elif isinstance(command, typer.core.TyperCommand):
        yield " ".join(words), command
