"""A feed of changes, as a collection: its fields by the values that its documents have."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import FieldType
from dr_pipelines.model.notation import FieldName
from dr_pipelines.project.proposal.git import local_store, source_lines
from dr_pipelines.project.proposal.models import embedder_lines
from dr_pipelines.project.proposal.names import legal_name
from dr_pipelines.project.proposal.proposal import Choices, Proposal, Proposed
from dr_pipelines.project.proposal.subject import FeedSubject, placed
from dr_pipelines.project.proposal.text import Line, comment
from dr_pipelines.sources.changes import Change
from dr_pipelines.sources.jsonl_reading import Mark, opened, walk
from dr_pipelines.sources.values import WrongType, cast

MOST_LINES = 100_000
"""How much of a feed is looked at: the types of later values are an assumption."""
MOST_FIELDS = 64
PREFERRED = (
    FieldType.BOOLEAN,
    FieldType.INTEGER,
    FieldType.NUMBER,
    FieldType.TIMESTAMP,
    FieldType.STRINGS,
    FieldType.STRING,
)
NAMES = TypeAdapter[str](FieldName)


@dataclass
class Look:
    """Statistics of a feed's first lines: how many could be read, and which types fit all values of
    each key of their metadata.
    """

    lines: int = 0
    unread: int = 0
    documents: set[str] = field(default_factory=set)
    types: dict[str, set[FieldType]] = field(default_factory=dict)
    whole: bool = True

    def field_types(self) -> Iterator[tuple[str, FieldType]]:
        """Keys that can be declared, and as what; ascending."""
        for key, fitting in sorted(self.types.items()):
            if fitting and _declarable(key):
                yield key, next(t for t in PREFERRED if t in fitting)

    def undeclared(self) -> list[str]:
        """All other keys, ascending: they are kept as JSON."""
        return sorted(k for k, fitting in self.types.items() if not fitting or not _declarable(k))


def propose_feed(subject: FeedSubject, choices: Choices) -> Proposal:
    """A feed's documents, from today on; what was before is one state.

    Raises `InvalidRequest` where no line can be read, or there is no model to embed texts.
    """
    look = _looked_at(subject.file)
    collection = choices.name or legal_name(subject.file.stem, fallback="feed")
    model, embedders = embedder_lines(choices)
    path = placed(subject.file, choices.base)
    declarable = list(look.field_types())
    fields = dict(declarable[:MOST_FIELDS])
    beyond = [key for key, _ in declarable[MOST_FIELDS:]]
    value = {
        "name": collection,
        "source": {"kind": "jsonl", "path": path},
        "embedder": model,
        "partitions_start": choices.today.isoformat(),
        "documents": len(look.documents),
        "fields": {key: str(type_) for key, type_ in fields.items()},
        "undeclared": look.undeclared(),
        "beyond": beyond,
        "lines_unread": look.unread,
        "whole": look.whole,
    }
    source = (
        Line(2, "source", comment="where documents come from"),
        Line(3, "kind", "jsonl", "a feed that only grows, one change a line"),
        Line(3, "path", path, f"its file; {_summary(look)}"),
    )
    lines = source_lines(collection, source, choices, model=model)
    return Proposal(
        collections=(Proposed(collection, (*lines, *_field_lines(look, fields, beyond)), value),),
        left_out=(),
        stores=local_store(),
        embedders=embedders,
        notes=tuple(_notes(look, beyond)),
    )


def _looked_at(path: Path) -> Look:
    look = Look()
    with opened(path) as file:
        for step in walk(file, Mark.start()):
            if look.lines >= MOST_LINES:
                look.whole = False
                break
            look.lines += 1
            if isinstance(step.result, Change):
                _see(look, step.result)
            else:
                look.unread += 1
    if look.lines == look.unread:
        raise InvalidRequest(
            f"{path}: no line of it is a change (an object with seq, ts, op, id and text), and "
            "nothing of it could be kept"
        )
    return look


def _see(look: Look, change: Change) -> None:
    look.documents.add(change.document_id)
    for key, value in json.loads(change.metadata or "{}").items():
        if value is not None:
            fitting = look.types.setdefault(key, set(PREFERRED))
            fitting &= {type_ for type_ in fitting if _is(value, type_)}


def _is(value: Any, type_: FieldType) -> bool:
    try:
        cast(value, type_)
    except WrongType:
        return False
    return True


def _declarable(key: str) -> bool:
    try:
        NAMES.validate_python(key)
    except ValidationError:
        return False
    return True


def _summary(look: Look) -> str:
    how_much = "all" if look.whole else f"the first {MOST_LINES}"
    return f"{how_much} of its lines were read: {len(look.documents)} documents"


def _notes(look: Look, beyond: list[str]) -> Iterator[str]:
    if look.unread:
        yield f"{look.unread} lines cannot be read: dr ingest names them"
    if not look.whole:
        yield (
            f"types of fields go by the first {MOST_LINES} lines: values of later ones that do not "
            "fit are set aside"
        )
    if beyond:
        yield (
            f"{len(beyond)} fields beyond the first {MOST_FIELDS} are kept as JSON: the file's "
            "comments name them"
        )


def _field_lines(look: Look, fields: Mapping[str, FieldType], beyond: list[str]) -> Iterator[Line]:
    if fields:
        yield Line(2, "fields", comment="by the values that the lines have; others are set aside")
    for key, type_ in fields.items():
        yield Line(3, key)
        yield Line(4, "type", str(type_))
        yield Line(4, "filterable", True, "whether queries may filter by it")
    if left := look.undeclared():
        yield comment(
            2,
            "kept as JSON, for their values are of no one type, or no name to declare: "
            + ", ".join(left),
        )
    if beyond:
        yield comment(
            2, f"kept as JSON, for they are beyond the first {MOST_FIELDS}: {', '.join(beyond)}"
        )
