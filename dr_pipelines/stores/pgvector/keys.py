"""Keys of tables that others made, as ids: the value as text, or a JSON array of several; where
there is none, what the rows hold (`contents`)."""

import json
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.stores.pgvector import contents
from dr_pipelines.stores.pgvector.catalog import Attribute
from dr_pipelines.stores.pgvector.columns import text_of
from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.description import Collection
from dr_pipelines.stores.pgvector.mapping import has_vectors
from dr_pipelines.stores.pgvector.planner import may_plan
from dr_pipelines.stores.pgvector.statements import qualified, text_array
from dr_pipelines.stores.pgvector.texts import escaped


def key_attributes(collection: Collection) -> list[Attribute]:
    """The columns of the key."""
    return [collection.table.attribute(number) for number in collection.table.key]


def key_column(collection: Collection) -> sql.Composable:
    """The id as SQL, of the rows that `Collection.records` gives."""
    if not collection.table.key:
        return contents.id_column(collection.table)
    parts = [_text(a) for a in key_attributes(collection)]
    if len(parts) == 1:
        return parts[0]
    written = sql.SQL(", ',', ").join(qualified("to_json({})").format(part) for part in parts)
    return qualified("concat('[', {}, ']')").format(written)


def _text(attribute: Attribute) -> sql.Composed:
    return text_of(attribute).format(sql.Identifier(attribute.name))


def key_texts(collection: Collection, ids: Sequence[str]) -> list[list[str]]:
    """The texts of each column of the key.

    Raises:
        InvalidRequest: an id that is no key of this table.
    """
    width = len(collection.table.key)
    if width == 1:
        return [list(ids)]
    columns = list[list[str]]()
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
        columns.append(values)
    return [list(column) for column in zip(*columns, strict=True)] or [[] for _ in range(width)]


def with_keys(session: Session, collection: Collection, ids: Sequence[str]) -> sql.Composable:
    """A condition for the records with these ids, which are keys: found by the key's index where
    the key's types are the engine's or the extension's, whose equality is known."""
    attributes = key_attributes(collection)
    plain = all(_is_plain(a) for a in attributes)
    if not plain and (
        not all(has_vectors(a) for a in attributes) or not may_plan(session, collection.table)
    ):
        return with_texts(collection, ids)
    schema = sql.Identifier("pg_catalog") if plain else session.vectors
    names = [sql.Identifier(f"k{number}") for number in range(len(attributes))]
    values = [
        qualified("unnest({}::{}.{}[])").format(
            sql.Literal(values), sql.Identifier(a.schema), sql.Identifier(a.kind)
        )
        for a, values in zip(attributes, key_texts(collection, ids), strict=True)
    ]
    return sql.SQL("({}) OPERATOR({}.=) ANY (SELECT {} FROM ROWS FROM ({}) AS given ({}))").format(
        sql.SQL(", ").join(sql.Identifier(a.name) for a in attributes),
        schema,
        sql.SQL(", ").join(names),
        sql.SQL(", ").join(values),
        sql.SQL(", ").join(names),
    )


def is_known(attribute: Attribute) -> bool:
    """True if the equality of a column's type is known: it is the engine's or the extension's."""
    return _is_plain(attribute) or has_vectors(attribute)


def _is_plain(attribute: Attribute) -> bool:
    return attribute.plain and not attribute.kind.startswith("_")


def with_texts(collection: Collection, ids: Sequence[str]) -> sql.Composable:
    """A condition for the records with these ids, whatever they are."""
    if not collection.table.key:
        return contents.among(collection.table, ids)
    texts = [key for key in ids if "\0" not in key]
    return qualified("{} = ANY ({})").format(key_column(collection), text_array(texts))


def of_documents(collection: Collection, documents: Sequence[str] | None) -> sql.Composable:
    """A condition for the records of some documents; of all of them where they are None."""
    if documents is None:
        return sql.SQL("true")
    if not collection.ours:
        return with_texts(collection, documents)
    texts = [escaped(document) for document in documents]
    return qualified("document_id = ANY ({})").format(text_array(texts))


def require_keys(collection: Collection, batch: pa.Table) -> None:
    """Of a key of several columns, which are fields as well, both must say the same. Of a table
    without one, ids must look like those of its rows; what they hold is compared later.

    Raises:
        InvalidRequest: they do not, or an id is no key; names the record.
    """
    if not collection.table.key:
        contents.require_form(collection.table, batch)
    if len(collection.table.key) <= 1:
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
