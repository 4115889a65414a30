"""The command that compares two points: diff."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dr_pipelines.cli.options import AT, POLICIES, Collection, Json, Limit, Policies
from dr_pipelines.cli.output import Answer, give
from dr_pipelines.cli.session import open_project, point_at
from dr_pipelines.model.display import displayed_line

if TYPE_CHECKING:  # imported by the command
    from rich.console import Console

    from dr_pipelines.contents.diff import Diff, DocumentChange


def diff(
    collection: Collection,
    a: Annotated[str, typer.Argument(metavar="AT", help=f"From: {AT}")],
    b: Annotated[str, typer.Argument(metavar="AT", help=f"To: {AT}")],
    limit: Limit = 1000,
    policies: Policies = POLICIES,
    as_json: Json = False,
) -> int:
    """Show which documents were added, removed and changed between two points, and what of them.

    Examples:
      dr diff handbook seq:120 latest
      dr diff handbook 2026-01-12 2026-01-14
    """
    from dr_pipelines.contents import diff as verb

    project = open_project(policies, collection)
    before, after = point_at(project, collection, a), point_at(project, collection, b)
    difference = verb.diff(project.collection(collection).history(), before, after, limit=limit)
    return give(_diff_answer(collection, difference), as_json=as_json)


def _diff_answer(collection: str, difference: "Diff") -> Answer:
    value = {
        "collection": collection,
        "a": difference.a,
        "b": difference.b,
        "equal": difference.equal,
        "added": list(difference.added),
        "removed": list(difference.removed),
        "changed": [_change_value(change) for change in difference.changed],
        "added_total": difference.added_total,
        "removed_total": difference.removed_total,
        "changed_total": difference.changed_total,
        "unchanged": difference.unchanged,
    }

    def show(console: "Console") -> None:
        console.print(
            f"{collection}, {difference.a} → {difference.b}: {difference.added_total} added, "
            f"{difference.removed_total} removed, {difference.changed_total} changed, "
            f"{difference.unchanged} unchanged"
        )
        for mark, named, total in (
            ("+", difference.added, difference.added_total),
            ("-", difference.removed, difference.removed_total),
            ("~", difference.changed, difference.changed_total),
        ):
            for item in named:
                text = item if isinstance(item, str) else f"{item.id}: {_described(item)}"
                console.print(f"  {mark} {displayed_line(text)}", soft_wrap=True)
            if total > len(named):
                console.print(f"  {mark} and {total - len(named)} more: give a larger --limit")

    return Answer(value, show)


def _change_value(change: "DocumentChange") -> dict[str, Any]:
    return {
        "id": change.id,
        "text": change.text,
        "vectors": change.vectors,
        "fields": {
            field.name: {"old": _plain(field.old), "new": _plain(field.new)}
            for field in change.fields
        },
    }


def _described(change: "DocumentChange") -> str:
    parts = [
        name for name, differs in (("text", change.text), ("vectors", change.vectors)) if differs
    ]
    parts += [
        f"{field.name} {_plain(field.old)!r} → {_plain(field.new)!r}" for field in change.fields
    ]
    return ", ".join(parts) or "written again with the same values"


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value
