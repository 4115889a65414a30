"""Objects that somebody else put into the file of a collection: they are not part of it and do
not come back with it."""

from typing import Any

from dr_pipelines.model.compatibility import Note, Outcome

QUERIES = {
    "tables": "SELECT table_name FROM duckdb_tables() WHERE table_name NOT IN "
    "('collection_label', 'records', 'terms', 'texts')",
    "views": "SELECT view_name FROM duckdb_views() WHERE TRUE",
    "sequences": "SELECT sequence_name FROM duckdb_sequences() WHERE TRUE",
    "functions": "SELECT function_name FROM duckdb_functions() WHERE TRUE",
    "types": "SELECT type_name FROM duckdb_types() WHERE TRUE",
    "schemas": "SELECT schema_name FROM duckdb_schemas() WHERE schema_name <> 'main'",
    "indexes": "SELECT index_name FROM duckdb_indexes() WHERE TRUE",
    "triggers": "SELECT trigger_name FROM duckdb_triggers() WHERE TRUE",
    "constraints": "SELECT constraint_text FROM duckdb_constraints() WHERE TRUE",
    "comments": "SELECT table_name FROM duckdb_tables() WHERE comment IS NOT NULL",
    "comments of columns": "SELECT column_name FROM duckdb_columns() WHERE comment IS NOT NULL",
    "tags": "SELECT table_name FROM duckdb_tables() WHERE cardinality(tags) > 0",
}
"""Kind of object → the names of those in the current database that are not ours. Each query is
continued by conditions on the database."""
WITHOUT_INTERNAL = frozenset(["constraints", "indexes", "sequences", "triggers"])
NAMED = 5


def others(connection: Any) -> tuple[Note, ...]:
    """A note for each kind of object in the file that is not part of the collection."""
    return tuple(note for kind in QUERIES if (note := _note(connection, kind)) is not None)


def _note(connection: Any, kind: str) -> Note | None:
    here = " AND database_name = current_database()"
    here += "" if kind in WITHOUT_INTERNAL else " AND NOT internal"
    rows = connection.execute(QUERIES[kind] + here).fetchall()
    names = sorted({str(row[0]) for row in rows})
    if not names:
        return None
    listed = ", ".join(map(repr, names[:NAMED])) + (" …" if len(names) > NAMED else "")
    message = (
        f"{len(names)} of others in the collection's file ({listed}): none is made again; keep "
        "them in a database of their own"
    )
    return Note(f"engine.duckdb.{kind.replace(' ', '_')}", Outcome.LOST, message)
