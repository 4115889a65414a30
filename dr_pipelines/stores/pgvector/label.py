"""The label of a collection of ours: its whole specification, as the comment of its key's index."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from psycopg import sql
from pydantic import ValidationError

from dr_pipelines.errors import Damaged
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.stores.pgvector.connections import Session

MARK = "dr-pipelines collection "


@dataclass(frozen=True, slots=True)
class Label:
    """What a collection was created with; `indexed`: what it declares was built since; `opened`:
    others have their rights in it, for which the roles `made` were made, each with its number."""

    spec: CollectionSpec
    indexed: bool
    opened: bool = False
    made: Mapping[str, int] = field(default_factory=dict)


def read_label(comment: str | None, table: str) -> Label | None:
    """The label in a comment, where it is one.

    Raises:
        Damaged: it begins like one and cannot be read.
    """
    if comment is None or not comment.startswith(MARK):
        return None
    try:
        value = json.loads(comment.removeprefix(MARK))
        made = {str(name): int(number) for name, number in value["made"].items()}
        spec = CollectionSpec.model_validate(value["spec"])
        return Label(spec, bool(value["indexed"]), bool(value["opened"]), made)
    except (ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        raise Damaged(
            f"the label of table {table!r} is unreadable; restore it from a recovery point"
        ) from error


def write_label(session: Session, key_index: str, label: Label) -> None:
    """Set the comment of an index."""
    value = {
        "spec": label.spec.model_dump(mode="json"),
        "indexed": label.indexed,
        "opened": label.opened,
        "made": dict(label.made),
    }
    session.run(
        sql.SQL("COMMENT ON INDEX {} IS {}").format(
            session.table(key_index), sql.Literal(MARK + json.dumps(value, sort_keys=True))
        )
    )
