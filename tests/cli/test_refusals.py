"""A refusal to embed is said by every command until something is embedded again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from dr_pipelines.embedders.hashing import HashingEmbedder
from dr_pipelines.errors import TextTooLong
from tests.cli.test_unread import unread_of
from tests.cli.workplace import CHANGES, Workplace, feed_lines

NEW = {"ts": "2026-01-08T08:00:00Z", "op": "upsert", "id": "e", "text": "A heron waits.",
       "metadata": {"team": "red", "rank": 5}}  # fmt: skip


@contextmanager
def a_longer_text(place: Workplace, patch: pytest.MonkeyPatch) -> Iterator[None]:
    def embed(*_: object, **__: object) -> None:
        raise TextTooLong({0: 99}, limit=10, model="hashing")

    with patch.context() as patched:
        patched.setattr(
            "dr_pipelines.ingestion.embeddings.require_same_model", lambda *_, **__: None
        )
        patched.setattr(HashingEmbedder, "embed", embed)
        yield


@contextmanager
def another_model(place: Workplace, patch: pytest.MonkeyPatch) -> Iterator[None]:
    first = HashingEmbedder.embed

    def embed(self: HashingEmbedder, *args: object, **named: object) -> object:
        return first(self, *args, **named)[:, ::-1] + np.float32(0)  # type: ignore[arg-type]

    with patch.context() as patched:
        patched.setattr(HashingEmbedder, "embed", embed)
        yield


@contextmanager
def another_policy(place: Workplace, patch: pytest.MonkeyPatch) -> Iterator[None]:
    policies = place.directory / "policies.yaml"
    before = policies.read_text()
    policies.write_text(before.replace("size: 40", "size: 30"))
    yield
    policies.write_text(before)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (a_longer_text, "chunks are longer than model 'hashing' reads"),
        (another_model, "is not the one that made the collection's vectors"),
        (another_policy, "the policy makes other vectors than the collection holds"),
    ],
)
def test_why_nothing_is_embedded_is_said_until_something_is(
    protected: Workplace,
    monkeypatch: pytest.MonkeyPatch,
    wrong: Callable[[Workplace, pytest.MonkeyPatch], object],
    reason: str,
) -> None:
    protected.write_feed(feed_lines([*CHANGES, NEW]))
    before = len(protected.dr("points", "notes", "--json").json["points"])
    with wrong(protected, monkeypatch):  # type: ignore[attr-defined]
        assert [protected.dr("ingest", "notes").code for _ in range(2)] == [1, 1]
    assert len(protected.dr("points", "notes", "--json").json["points"]) == before + 1  # said once

    for _ in range(2):
        status = unread_of(protected)
        assert reason in status["refused"]["reason"]  # type: ignore[index]
        assert any("embedding, refused since" in message for message in status["problems"])  # type: ignore[attr-defined]
        shown = protected.dr("status")
        assert shown.code == 3
        assert "embedding, refused since" in " ".join(shown.out.split())
        backup = protected.dr("backup", "notes", "--json")  # and what a backup adds hides nothing
        assert reason in backup.json["source"]["refused"]
        assert "embedding them was refused" in protected.dr("backup", "notes").out

    assert protected.dr("ingest", "notes").code == 0
    status = unread_of(protected)
    assert (status["refused"], status["problems"]) == (None, [])
    assert protected.dr("verify", "notes").code == 0
