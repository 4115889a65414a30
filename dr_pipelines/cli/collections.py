"""One command for several collections: a failure of one keeps no other from its turn."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from dr_pipelines.cli.output import Answer, ExitCode, code_of
from dr_pipelines.errors import DrError
from dr_pipelines.model.display import displayed

if TYPE_CHECKING:  # imported by the commands that need them
    from rich.console import Console

    from dr_pipelines.project.project import Project

One = Callable[["Project", str], Answer]


def all_of(project: "Project", names: Sequence[str], one: One) -> Answer:
    """An answer of all that were named, or else of all in the policies, in order of priority.

    Its code: unknown where one is; else that of all, where they are the same; else partial.
    """
    chosen = [name for name in project.policies.in_order() if not names or name in names]
    answers = [_answered(project, name, one) for name in chosen]

    def show(console: "Console") -> None:
        for number, answer in enumerate(answers):
            if number:
                console.print()
            answer.show(console)

    value = {"collections": [answer.value for answer in answers]}
    return Answer(value, show, overall([answer.code for answer in answers]))


def overall(codes: Sequence[ExitCode]) -> ExitCode:
    """The code of a command that did one thing several times."""
    if ExitCode.UNKNOWN in codes:
        return ExitCode.UNKNOWN
    return codes[0] if len(set(codes)) == 1 else ExitCode.PARTIAL


def _answered(project: "Project", name: str, one: One) -> Answer:
    try:
        return one(project, name)
    except DrError as error:
        return _failed(name, error)


def _failed(name: str, error: DrError) -> Answer:
    message = str(error)
    value: dict[str, Any] = {"collection": name, "error": message, "kind": type(error).__name__}

    def show(console: "Console") -> None:
        shown = displayed(message)
        console.print(shown if shown.startswith(name) else f"{name}: {shown}", soft_wrap=True)

    return Answer(value, show, code_of(error))
