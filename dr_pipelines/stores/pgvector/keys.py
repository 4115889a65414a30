"""Keys of tables that others made, as ids: the value as text, or a JSON array of several."""

import json
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.stores.pgvector.catalog import Attribute
from dr_pipelines.stores.pgvector.connections import verbatim
from dr_pipelines.stores.pgvector.description import Collection


def key_attributes(collection: Collection) -> list[Attribute]:
    """The columns of the key."""
    return [collection.table.attribute(number) for number in collection.table.key]


def key_column(collection: Collection) -> sql.Composable:
    """The id as SQL."""
    parts = [sql.Identifier(a.name) for a in key_attributes(collection)]
    if len(parts) == 1:
        return sql.SQL("{}::text").format(parts[0])
    texts = sql.SQL(" || ',' || ").join(
        sql.SQL("to_json({}::text)::text").format(part) for part in parts
    )
    return sql.SQL("('[' || {} || ']')").format(texts)


def key_texts(collection: Collection, ids: Sequence[str]) -> list[list[str]]:
    """The texts of each column of the key.

    Raises:
        InvalidRequest: an id that is no key of this table.
    """
    width = len(collection.table.key)
    if width == 1:
        return [list(ids)]
    found = list[list[str]]()
    for key in ids:
        try:
            values = json.loads(key)
        except ValueError:
            values = None
        if not isinstance(values, list) or [type(v) for v in values] != [str] * width:
            raise InvalidRequest(
                f"record {key!r}: expected a JSON array of {width} texts, the key of "
                f"{collection.table.name!r}"
            )
        found.append(values)
    return [list(column) for column in zip(*found, strict=True)] or [[] for _ in range(width)]


def with_keys(collection: Collection, ids: Sequence[str]) -> sql.Composable:
    """A condition for the records with these ids, which are keys: found by the key's index."""
    columns, attributes = key_texts(collection, ids), key_attributes(collection)
    names = [sql.Identifier(f"k{number}") for number in range(len(columns))]
    # an extension's type has its own equality; no user can put another one before the engine's
    own = all(a.category != "b" or a.origin == "engine" for a in attributes)
    return sql.SQL("({}) {} ANY (SELECT {} FROM ROWS FROM ({}) AS given ({}))").format(
        sql.SQL(", ").join(sql.Identifier(a.name) for a in attributes),
        sql.SQL("OPERATOR(pg_catalog.=)" if own else "="),
        sql.SQL(", ").join(
            sql.SQL("{}::{}").format(name, verbatim(attribute.type))
            for name, attribute in zip(names, attributes, strict=True)
        ),
        sql.SQL(", ").join(
            sql.SQL("pg_catalog.unnest({}::text[])").format(sql.Literal(c)) for c in columns
        ),
        sql.SQL(", ").join(names),
    )


def with_texts(collection: Collection, ids: Sequence[str]) -> sql.Composable:
    """A condition for the records with these ids, whatever they are."""
    kept = [key for key in ids if "\0" not in key]
    return sql.SQL("{} = ANY ({}::text[])").format(key_column(collection), sql.Literal(kept))


def require_keys(collection: Collection, batch: pa.Table) -> None:
    """Of a key of several columns, which are fields as well, both must say the same.

    Raises:
        InvalidRequest: they do not, or an id is no key; names the record.
    """
    if len(collection.table.key) == 1:
        return
    ids = batch.column("id").to_pylist()
    for texts, attribute in zip(
        key_texts(collection, ids), key_attributes(collection), strict=True
    ):
        column = next(c for c in collection.mapping.columns if c.native == attribute.name)
        values = batch.column(column.name)
        if pa.types.is_string(values.type) or pa.types.is_integer(values.type):
            same = pc.fill_null(pc.equal(values.cast(pa.string()), pa.array(texts)), False)
            if (place := pc.index(same, False).as_py()) >= 0:
                raise InvalidRequest(f"record {ids[place]!r}: {column.name} is not the key's")
