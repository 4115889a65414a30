"""The command that rewrites segments: compact."""

from typing import TYPE_CHECKING

from dr_pipelines.cli.options import POLICIES, Collection, Json, Policies
from dr_pipelines.cli.output import Answer, give
from dr_pipelines.cli.session import open_project, point_at

if TYPE_CHECKING:  # imported by the commands that need them
    from rich.console import Console

    from dr_pipelines.upkeep.compaction import Compacted


def compact(collection: Collection, policies: Policies = POLICIES, as_json: Json = False) -> int:
    """Rewrite many segments as few, and checkpoints of small days as one object. Every recovery
    point stays, and so does every answer.

    Example:
      dr compact handbook
    """
    from dr_pipelines.upkeep import compaction

    project = open_project(policies, collection)
    point_at(project, collection, "latest")  # raises: there is nothing to compact yet
    done = compaction.compact(
        project.collection(collection).writable_history(),
        live=project.collection(collection).live(),
    )
    return give(_compact_answer(collection, done), as_json=as_json)


def _compact_answer(collection: str, done: "Compacted") -> Answer:
    value = {
        "collection": collection,
        "log": done.number,
        "segments_before": done.segments_before,
        "segments_after": done.segments_after,
        "rows_before": done.rows_before,
        "rows_after": done.rows_after,
        "checkpoints_packed": done.packed,
        "objects_before": done.before.objects,
        "objects_after": done.after.objects,
        "size_bytes_before": done.before.size_bytes,
        "size_bytes_after": done.after.size_bytes,
    }

    def show(console: "Console") -> None:
        from dr_pipelines.cli.console import number, size

        if done.number is None:
            console.print(f"{collection}: nothing to compact")
            return
        console.print(
            f"{collection}: {done.segments_before} segments became {done.segments_after} "
            f"({done.rows_before} rows, now {done.rows_after}) at log:{done.number}"
        )
        if done.packed:
            console.print(f"{number(done.packed)} checkpoints of small days lie in few objects now")
        console.print(
            f"the newest point refers to {number(done.after.objects)} objects of "
            f"{size(done.after.size_bytes)}, where it had {number(done.before.objects)} of "
            f"{size(done.before.size_bytes)}; nothing was deleted, older points keep theirs"
        )

    return Answer(value, show)
