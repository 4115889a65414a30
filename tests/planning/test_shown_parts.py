"""Parts that are not as they were, in words."""

from typing import Any

import pytest

from dr_pipelines.model.parts import shown


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "not there"),
        (16, "16"),
        (True, "true"),
        ("hnsw", "hnsw"),
        (
            {"name": "a", "definition": "CREATE INDEX a ON {table} (b)"},
            "CREATE INDEX a ON notes (b)",
        ),
        ({"m": 16, "on": None}, "m: 16, on: not there"),
        (["a", {"b": 1}], "a; b: 1"),
        ([], "empty"),
        ({}, "empty"),
        ("x" * 300, "x" * 200 + "…"),
    ],
)
def test_a_part_is_shown_in_words(value: Any, words: str) -> None:
    assert shown(value, collection="notes") == words
