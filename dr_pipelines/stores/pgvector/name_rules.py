"""How a name is freed in a schema, and how a view is less than the table whose name it has."""

from dr_pipelines.model.recovery import NameRules
from dr_pipelines.stores.pgvector.names import MAX_BYTES

ALIAS_LIMITS = (
    "an alias is a view here. Reading and writing rows go through it; COPY to or from it, "
    "TRUNCATE, CREATE INDEX, ALTER TABLE, REFERENCES, pg_get_serial_sequence and tableoid do "
    "not: these need the name of the table"
)


def name_rules(collection: str) -> NameRules:
    """Statements that take a collection's name from a view and from a table."""
    replaced = f"{collection[: MAX_BYTES - len('_replaced')]}_replaced"
    aftermath = (
        "Views and foreign keys of others stay with a table that is renamed; what hangs on it is "
        "listed with statements"
    )
    return NameRules(
        alias_limits=ALIAS_LIMITS,
        free_alias=f'DROP VIEW "{collection}"',
        free_collection=f'ALTER TABLE "{collection}" RENAME TO "{replaced}"',
        aftermath=aftermath,
    )
