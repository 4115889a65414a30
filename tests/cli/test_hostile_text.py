"""Text that others wrote never acts on the terminal that shows it, nor on the order of output."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from assets.checks import check_result
from assets.failures import failure_of
from dr_pipelines.errors import Damaged
from dr_pipelines.model.collection import CollectionSpec, Vector
from dr_pipelines.model.display import displayed, displayed_json, displayed_line
from dr_pipelines.model.record import store_schema
from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.duckdb.store import duckdb_store
from tests.cli.workplace import Workplace, feed_lines

ACTS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufff9-\ufffb]"
)
EVIL = "e\x1b]0;owned\x07\x9b31m\u202egpj\u2066\r\u2028z"
NAMED = r"e\x1b]0;owned\x07\x9b31m\u202egpj\u2066\x0d\u2028z"
LINES = f"{EVIL}\nnotes: recovery point log:9, proven equal\tx"
TURNED = "e\u202egpj\u2066z\u2028"  # an id of a feed has no control characters, but may have these


def change(id: str, text: str, day: int) -> dict[str, Any]:
    return {
        "ts": f"2026-01-0{day}T08:00:00Z",
        "op": "upsert",
        "id": id,
        "title": EVIL,
        "text": text,
        "metadata": {"team": EVIL, "rank": day},
    }


CHANGES = [change(TURNED, f"crow {EVIL}", 5), change("b", EVIL, 5), change(TURNED, EVIL, 6)]
UNREADABLE = '{"seq": 4, "ts": "2026-01-06T08:00:00Z", "op": "\\u001b[31m", "id": "\\u202ex"}\n'
NOTES = (
    "ingest notes",
    "backup notes",
    "points notes",
    "documents notes",
    "documents notes --store",
    "diff notes seq:1 latest",
    "search notes crow --mode keyword",
    "verify notes --level 3",
    "status",
    "restore notes --into again",
    "restore notes --at seq:1 --switch",
    "compact notes",
    "replay notes --from 2026-01-05 --to 2026-01-05",
)
MEMORIES = (
    "backup memories",
    "documents memories",
    "documents memories --store",
    "search memories tea --mode keyword",
    "diff memories log:1 latest",
    "restore memories --switch",
    "status",
)


def require_harmless(place: Workplace, commands: Sequence[str], *, as_json: bool) -> None:
    for command in commands:
        result = place.dr(*command.split(), *(["--json"] if as_json else []))
        assert result.code in (0, 3), (command, result)
        assert not ACTS.search(result.out + result.err), (command, result)
        assert not as_json or result.json


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_documents_of_a_feed_cannot_act_on_the_terminal(fresh: Workplace, as_json: bool) -> None:
    (fresh.directory / "feed.jsonl").write_text(feed_lines(CHANGES) + UNREADABLE)
    require_harmless(fresh, NOTES, as_json=as_json)


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_records_of_a_store_cannot_act_on_the_terminal(fresh: Workplace, as_json: bool) -> None:
    store = remember(fresh.directory / "stores", EVIL, LINES)
    require_harmless(fresh, MEMORIES, as_json=as_json)
    physical = store.aliases()["memories"]
    store.write(physical, memories(store.describe(physical), EVIL, text=f"tea, {EVIL}"))
    require_harmless(fresh, ["backup memories", "diff memories log:1 latest"], as_json=as_json)


def test_an_id_is_shown_whole_on_one_line(fresh: Workplace) -> None:
    remember(fresh.directory / "stores", EVIL, LINES)
    assert fresh.dr("backup", "memories").code in (0, 3)
    rows = fresh.dr("documents", "memories").out.splitlines()
    assert sorted(row.split("\t")[0] for row in rows) == sorted([NAMED, displayed_line(LINES)])
    listed = fresh.dr("documents", "memories", "--json").json["documents"]
    assert {row["id"] for row in listed} == {EVIL, LINES}


def remember(directory: Path, *ids: str) -> VectorStore:
    """A collection that something else made, with a record for each id."""
    spec = CollectionSpec(name="memories@1", vectors=(Vector(dimension=8),))
    store = duckdb_store(directory)
    store.create(spec)
    store.write(spec.name, memories(spec, *ids, text=f"tea {EVIL}"))
    store.build_index(spec.name)
    store.promote(spec.name, alias="memories")
    return store


def memories(spec: CollectionSpec, *ids: str, text: str) -> pa.Table:
    rows = {
        "id": list(ids),
        "document_id": list(ids),
        "chunk_index": [0] * len(ids),
        "text": [text] * len(ids),
        "embedding": [[1.0] + [0.0] * 7] * len(ids),
    }
    schema = store_schema(spec)
    return pa.table(
        [pa.array(rows.get(f.name, [None] * len(ids)), f.type) for f in schema], schema=schema
    )


def test_an_error_shows_hostile_words_as_text(fresh: Workplace) -> None:
    result = fresh.dr("documents", EVIL)
    assert r"e\x1b]0;owned\x07\x9b31m\u202egpj" in result.err
    assert not ACTS.search(result.err)


def test_text_in_any_script_is_shown_as_it_is() -> None:
    for text in ("Тест", "日本", "नमस्ते", "مرحبا", "می‌خواهم", "👩‍🚀", "tab\tand\nline"):
        assert displayed(text) == text


def test_json_says_the_same_with_escapes() -> None:
    value = {"id": EVIL, "lone": "\ud800", "far": "\U0001f600"}
    text = displayed_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(text) == value
    assert not ACTS.search(text)


def test_dagster_shows_text_and_no_control_characters() -> None:
    failure = failure_of(Damaged(EVIL))
    assert failure.description == NAMED
    result = check_result(False, EVIL, {"problems": [EVIL], "nested": {"id": EVIL}, "count": 3})
    assert result.description == NAMED
    assert {name: value.value for name, value in result.metadata.items()} == {
        "problems": [NAMED],
        "nested": {"id": NAMED},
        "count": 3,
    }
