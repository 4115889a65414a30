"""The source that a collection's key `source` describes."""

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

from dr_pipelines.model.collection import Field
from dr_pipelines.model.components import JsonlSourcePolicy, SourcePolicy
from dr_pipelines.project.adapters.context import PolicyContext

if TYPE_CHECKING:
    from dr_pipelines.protocols import Source
    from dr_pipelines.sources.marks_file import SourceMarks


def open_source(
    policy: SourcePolicy,
    context: PolicyContext,
    *,
    fields: Sequence[Field] = (),
    start: date | None = None,
    marks: "SourceMarks | None" = None,
) -> "Source":
    """The source of a collection that declares some fields and is kept from a first day on; `marks`
    is where its readings are kept."""
    opened = _open_source(policy, context, fields, marks)
    if start is None:
        return opened
    from dr_pipelines.sources.baseline import BaselinedSource

    return BaselinedSource(opened, start, marks=marks.baseline if marks else None)


def _open_source(
    policy: SourcePolicy,
    context: PolicyContext,
    fields: Sequence[Field],
    marks: "SourceMarks | None",
) -> "Source":
    from dr_pipelines.sources.values import FieldTypes

    path, misfit = context.path(policy.path), FieldTypes(tuple(fields))
    if isinstance(policy, JsonlSourcePolicy):
        from dr_pipelines.sources.jsonl import JsonlSource

        return JsonlSource(path, misfit=misfit, marks=marks.feed if marks else None)
    from dr_pipelines.sources.git import GitSource

    ref = context.expand(policy.ref)
    return GitSource(
        path,
        ref=ref,
        include=policy.include,
        exclude=policy.exclude,
        misfit=misfit,
        marks=marks.feed if marks else None,
    )
