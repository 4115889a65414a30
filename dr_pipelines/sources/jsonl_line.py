"""One line of a JSONL change feed, checked."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from dr_pipelines.model.base import canonical_json
from dr_pipelines.model.json_size import MAX_VALUES, is_too_much
from dr_pipelines.sources.changes import (
    MAX_NESTING,
    Change,
    Misfit,
    Repeated,
    Unreadable,
    encoded,
    microseconds_of,
    readable_id,
)
from dr_pipelines.sources.values import FindMisfit

REQUIRED = ("seq", "ts", "op", "id")
CONTENT = ("title", "text", "metadata")
MAX_POSITION = 2**63 - 1


def parse_line(raw: bytes, *, after: int, newest: int, misfit: FindMisfit | None = None) -> Change:
    """The change on a line that follows position `after`, where `newest` is the running maximum
    of `ts` so far. `misfit` says what of its values does not fit the collection. Raises
    `Unreadable` with what is wrong."""
    row = _decode(raw)
    try:
        change = _change(row, after=after, newest=newest, size_bytes=len(raw))
        if misfit is not None and change.text is not None:
            _require_fit(row, change, misfit)
    except Unreadable as error:
        error.document, error.updated_at = _document(row), _said_at(row)
        raise
    return change


def _change(row: dict[str, Any], *, after: int, newest: int, size_bytes: int) -> Change:
    _check_keys(row)
    position = _position(row["seq"], after)
    updated_at = _time(row["ts"])
    newest = max(newest, updated_at)
    id_ = readable_id(_string(row, "id"))
    if row["op"] == "delete":
        _check_delete(row)
        return Change(id_, position, 0, updated_at, newest, size_bytes=size_bytes)
    if row["op"] != "upsert":
        raise Unreadable(f"op is {_shown(row['op'])}; expected 'upsert' or 'delete'")
    text = _string(row, "text")
    encoded(text, "text")
    title = _string(row, "title") if row.get("title") is not None else None
    encoded(title or "", "title")
    metadata = _metadata(row)
    return Change(
        document_id=id_,
        position=position,
        ordinal=0,
        updated_at=updated_at,
        newest=newest,
        title=title,
        text=text,
        uri=_uri(metadata),
        metadata=_canonical(metadata),
        size_bytes=size_bytes,
    )


def _metadata(row: dict[str, Any]) -> dict[str, Any]:
    metadata = {} if row.get("metadata") is None else row["metadata"]
    if not isinstance(metadata, dict):
        raise Unreadable(f"metadata is {_shown(metadata)}; expected an object")
    return metadata


def _require_fit(row: dict[str, Any], change: Change, misfit: FindMisfit) -> None:
    wrong = misfit(_metadata(row), change.title)
    if wrong is not None:
        refused = Misfit(f"seq {change.position}: {wrong}")
        refused.position, refused.newest = change.position, change.newest
        raise refused


def _document(row: dict[str, Any]) -> str | None:
    """The document that a line is about, where it names one."""
    try:
        return readable_id(row.get("id", ""))
    except (Unreadable, TypeError, AttributeError):
        return None


def _said_at(row: dict[str, Any]) -> int | None:
    try:
        return _time(row.get("ts"))
    except Unreadable:
        return None


def _decode(raw: bytes) -> dict[str, Any]:
    if is_too_much(raw):
        raise Unreadable(f"more than {MAX_VALUES} values in one line")
    try:
        row = json.loads(
            raw.decode(), object_pairs_hook=_without_duplicates, parse_constant=_no_constant
        )
    except UnicodeDecodeError as error:
        raise Unreadable(f"invalid UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise Unreadable(f"invalid JSON: {error.msg} at character {error.pos}") from error
    except RecursionError as error:
        raise Unreadable(f"nested deeper than {MAX_NESTING} levels") from error
    except Unreadable:
        raise
    except ValueError as error:  # an integer with more digits than Python converts
        raise Unreadable("invalid JSON: a number is too long") from error
    if not isinstance(row, dict):
        raise Unreadable(f"{_shown(row)} is not an object")
    brackets = raw.count(b"{") + raw.count(b"[")  # few of them, and it cannot be deep
    if brackets > MAX_NESTING and _deeper_than(row, MAX_NESTING):
        raise Unreadable(f"nested deeper than {MAX_NESTING} levels")
    return row


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise Unreadable(f"key {_shown(_said_twice(key for key, _ in pairs))} occurs twice")
    return row


def _said_twice(keys: Iterable[str]) -> str:
    seen = set[str]()
    for key in keys:
        if key in seen:
            return key
        seen.add(key)
    raise AssertionError("the caller has counted them")


def _no_constant(name: str) -> None:
    raise Unreadable(f"{name} is not a JSON number")


def _deeper_than(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    if levels == 0:
        return True
    items = value.values() if isinstance(value, dict) else value
    return any(_deeper_than(item, levels - 1) for item in items)


def _check_keys(row: dict[str, Any]) -> None:
    missing = [key for key in REQUIRED if key not in row]
    if row.get("op") == "upsert" and "text" not in row:
        missing.append("text")
    if missing:
        raise Unreadable(f"missing key {', '.join(missing)}")
    unknown = sorted(_shown(key) for key in row if key not in REQUIRED + CONTENT)
    if unknown:
        raise Unreadable(f"unknown key {', '.join(unknown)}")


def _position(seq: Any, after: int) -> int:
    if not isinstance(seq, int) or isinstance(seq, bool) or not 1 <= seq <= MAX_POSITION:
        raise Unreadable(f"seq is {_shown(seq)}; expected an integer from 1")
    if seq <= after:
        repeated = Repeated(f"seq {seq} is not greater than {after} before it")
        repeated.position = seq
        raise repeated
    return seq


def _time(ts: Any) -> int:
    try:
        time = datetime.fromisoformat(ts)
        moment = time.astimezone(UTC) if time.tzinfo else None
    except (TypeError, ValueError, OverflowError) as error:
        raise Unreadable(f"ts is {_shown(ts)}; expected an ISO 8601 time with a zone") from error
    if moment is None:
        raise Unreadable(f"ts {_shown(ts)} has no time zone")
    return microseconds_of(moment)


def _check_delete(row: dict[str, Any]) -> None:
    extra = [key for key in CONTENT if row.get(key) is not None]
    if extra:
        raise Unreadable(f"a delete has {', '.join(extra)}")


def _string(row: dict[str, Any], key: str) -> str:
    value = row[key]
    if not isinstance(value, str):
        raise Unreadable(f"{key} is {_shown(value)}; expected a string")
    return value


def _uri(metadata: dict[str, Any]) -> str | None:
    candidates = (metadata.get(key) for key in ("uri", "url"))
    return next((value for value in candidates if isinstance(value, str)), None)


def _canonical(metadata: dict[str, Any]) -> str:
    try:
        return canonical_json(metadata).decode()
    except UnicodeEncodeError as error:
        raise Unreadable("metadata has a lone surrogate") from error
    except ValueError as error:  # 1e999 is JSON, and infinite
        raise Unreadable("metadata has a number that is not finite") from error


def _shown(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."
