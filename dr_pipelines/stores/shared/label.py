"""The label of a collection that this package made: what it was asked to be, and how far it is.

One codec for all engines; each chooses only where the text lies: a comment, a property, a row.
Whoever may write there may forge it, so that it is decoded with limits, and only for the collection
that was asked for.
"""

import json

from pydantic import JsonValue, ValidationError

from dr_pipelines.errors import Damaged, InvalidRequest
from dr_pipelines.model.base import Stored
from dr_pipelines.model.collection import CollectionSpec

MAX_BYTES = 16 * 2**20
"""A section with the definitions of a large table has some hundred kilobytes."""


class Label(Stored):
    """`indexed`: what the specification declares was built. `facts` are what an engine's adapter
    notes for itself; most note nothing."""

    spec: CollectionSpec
    indexed: bool = False
    facts: dict[str, JsonValue] = {}


def encoded(label: Label) -> str:
    """The label as JSON, its sections in the order in which they were given.

    Raises:
        InvalidRequest: it has more than `MAX_BYTES`, so that nobody could read it.
    """
    text = json.dumps(
        label.model_dump(mode="json"), ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    size = len(text.encode())
    if size > MAX_BYTES:
        raise InvalidRequest(
            f"the specification of {label.spec.name!r} has {size:,} bytes, and a store keeps "
            f"{MAX_BYTES:,}; shorten its engine's section"
        )
    return text


def decoded(text: str | bytes, *, of: str) -> Label:
    """The label that `encoded` made; `of` is what messages call the collection, and where its
    label lies.

    Raises:
        Damaged: it is none: too long, too deep, not JSON, or of another shape.
    """
    data = text if isinstance(text, bytes) else text.encode(errors="surrogatepass")
    unreadable = f"the label of {of} is unreadable, and its specification with it; restore it "
    unreadable += "from a recovery point"
    if len(data) > MAX_BYTES:
        raise Damaged(f"{unreadable} (it has {len(data):,} bytes)")
    try:
        return Label.model_validate_json(data)
    except ValidationError as error:
        raise Damaged(unreadable) from error
