"""Collections that something else made: which columns their vectors and payloads become.

Qdrant declares no payload. What a payload index says of a key is taken as its declaration: such a
key becomes a field. Which type of the six it has, and which key holds the text, is read from the
first points that have the key, in the engine's order of ids.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import (
    PHYSICAL_NAME,
    Field,
    FieldType,
)
from dr_pipelines.stores.qdrant.variant import Json
from dr_pipelines.stores.shared.layout import column_name

TEXT_KEYS = ("text", "page_content", "document", "content")
"""Where LangChain, FastEmbed and most examples put the text of a chunk."""
FIELD_TYPES = {
    "keyword": FieldType.STRING,
    "uuid": FieldType.STRING,
    "text": FieldType.STRING,
    "integer": FieldType.INTEGER,
    "float": FieldType.NUMBER,
    "bool": FieldType.BOOLEAN,
    "datetime": FieldType.TIMESTAMP,
}
"""Type of a payload index → type of the field. A place on the globe stays in `extra`."""
SIMPLE_KEY = re.compile(r"[A-Za-z0-9_-]+")
"""A key at the top of the payload, which needs no quotes in a filter."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """The columns of a foreign collection. `vectors` are column → Qdrant's name, `renamed` all
    columns whose name is not Qdrant's; `text` is the key that holds the text."""

    vectors: dict[str, str]
    fields: tuple[Field, ...]
    renamed: dict[str, str]
    text: str | None
    keyword_index: bool


def foreign_columns(name: str, config: Json, sample: Callable[[str], Any]) -> Foreign:
    """The columns of a collection without our label.

    Raises:
        InvalidRequest: its name cannot be one in a specification, or it has no vectors.
    """
    if not PHYSICAL_NAME.fullmatch(name):
        raise InvalidRequest(
            f"collection {name!r} has a name that this tool cannot use; expected "
            f"{PHYSICAL_NAME.pattern}: copy or rename it in Qdrant"
        )
    vectors = [*config.get("vectors", {}), *config.get("sparse_vectors", {})]
    if not vectors:
        raise InvalidRequest(f"collection {name!r} has no vectors")
    schema = config.get("payload_schema", {})
    text = _text_key(schema, sample)
    taken = set[str]()

    def named(native: str) -> str:
        taken.add(name := column_name(native, taken=taken))
        return name

    columns = {named(native or "embedding"): native for native in sorted(vectors)}
    keys = sorted(key for key in schema if SIMPLE_KEY.fullmatch(key) and key != text)
    fields, renamed = [], {column: native for column, native in columns.items() if column != native}
    for key in keys:
        kind = _field_type(schema[key]["type"], key, sample)
        if kind is not None:
            column = named(key)
            full_text = schema[key]["type"] == "text"
            fields.append(Field(name=column, type=kind, filterable=not full_text))
            if column != key:
                renamed[column] = key
    indexed = text is not None and schema.get(text, {}).get("type") == "text"
    return Foreign(columns, tuple(fields), renamed, text, keyword_index=indexed)


def _text_key(schema: Json, sample: Callable[[str], Any]) -> str | None:
    """The only key with a full-text index, else the first well-known one that holds a text."""
    full_text = [k for k, i in schema.items() if i["type"] == "text" and SIMPLE_KEY.fullmatch(k)]
    if len(full_text) == 1:
        return full_text[0]
    candidates: Iterator[str] = (key for key in TEXT_KEYS if isinstance(sample(key), str))
    return next(candidates, None)


def _field_type(index: str, key: str, sample: Callable[[str], Any]) -> FieldType | None:
    if index == "keyword" and isinstance(sample(key), list):
        return FieldType.STRINGS
    return FIELD_TYPES.get(index)
