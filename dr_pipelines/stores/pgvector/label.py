"""The label of a collection of ours: its whole specification, as the comment of its key's index or,
where it has no key, of a statistics object that is there for nothing else. Both belong to the table
and leave its own comment to users."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from psycopg import sql
from pydantic import JsonValue

from dr_pipelines.errors import Damaged
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.statements import oid, qualified
from dr_pipelines.stores.shared import label as shared

MARK = "dr-pipelines collection "
MAX_CHARACTERS = len(MARK) + shared.MAX_BYTES + 1
"""Of a comment no more is fetched: one that is longer is no label of ours."""
HOLDERS = qualified("""
    SELECT s.stxname FROM pg_statistic_ext s WHERE s.stxrelid = {}
        AND starts_with(pg_catalog.obj_description(s.oid, 'pg_statistic_ext'), {})
    ORDER BY s.oid
""")


@dataclass(frozen=True, slots=True)
class Label:
    """The label of a collection. `indexed`: what it declares was built; `opened`: others have
    their rights in it, for which the roles `made` were created, each with its number."""

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
    label = shared.decoded(comment.removeprefix(MARK), of=f"table {table!r}")
    opened, made = label.facts.get("opened"), label.facts.get("made")
    if not isinstance(opened, bool) or not isinstance(made, dict):
        raise Damaged(f"the label of table {table!r} is unreadable; restore it")
    return Label(label.spec, label.indexed, opened, _numbers(made, table))


def _numbers(made: Mapping[str, JsonValue], table: str) -> dict[str, int]:
    numbers = {name: number for name, number in made.items() if isinstance(number, int)}
    if len(numbers) != len(made):
        raise Damaged(f"the label of table {table!r} is unreadable; restore it")
    return numbers


def write_label(session: Session, key_index: str, label: Label) -> None:
    """Set the comment of an index."""
    say = sql.SQL("COMMENT ON INDEX {} IS {}")
    session.run(say.format(session.table(key_index), sql.Literal(_written(label))))


def holder(session: Session, relation: int) -> str | None:
    """The name of the statistics object that has the label of a table, by the table's number."""
    name: str | None = session.one(HOLDERS.format(oid(relation), sql.Literal(MARK)))
    return name


def write_statistics_label(session: Session, table: str, holder: str, label: Label) -> None:
    """Set the comment of a statistics object of a table, and make it where it is not there. It is
    of a constant, with no samples: no writer and no ANALYZE has anything to do for it."""
    name = session.table(holder)
    there = qualified(
        "SELECT EXISTS (SELECT FROM pg_statistic_ext s JOIN pg_namespace n "
        "ON n.oid = s.stxnamespace WHERE n.nspname = {} AND s.stxname = {})"
    )
    if not session.one(there.format(sql.Literal(session.schema), sql.Literal(holder))):
        session.run(
            sql.SQL("CREATE STATISTICS {} ON (1) FROM {}").format(name, session.table(table))
        )
        session.run(sql.SQL("ALTER STATISTICS {} SET STATISTICS 0").format(name))
    say = sql.SQL("COMMENT ON STATISTICS {} IS {}")
    session.run(say.format(name, sql.Literal(_written(label))))


def _written(label: Label) -> str:
    facts: dict[str, JsonValue] = {"opened": label.opened, "made": dict(label.made)}
    return MARK + shared.encoded(shared.Label(spec=label.spec, indexed=label.indexed, facts=facts))
