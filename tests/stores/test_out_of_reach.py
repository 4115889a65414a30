"""A place that cannot be read is out of reach: what it holds is not gone."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from dr_pipelines.errors import InvalidRequest, NotFound, Unavailable
from dr_pipelines.model.components import StorePolicy
from dr_pipelines.project.adapters import PolicyContext, open_catalog, open_store
from dr_pipelines.stores.shared import pointers

SCHEMES = ["duckdb", "lance", "qdrant+edge", "qdrant+local", "chroma+local"]


def store(scheme: str, base: Path) -> Any:
    return open_store(StorePolicy(url=f"{scheme}:place"), PolicyContext(base))


@pytest.mark.parametrize("question", ["collections", "aliases"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_place_that_is_no_directory_is_not_an_empty_one(
    tmp_path: Path, scheme: str, question: str
) -> None:
    (tmp_path / "place").write_bytes(b"a file")
    with pytest.raises((Unavailable, InvalidRequest), match="place"):
        getattr(store(scheme, tmp_path), question)()
    with pytest.raises((Unavailable, InvalidRequest)):
        store(scheme, tmp_path).describe("docs")
    if question == "collections" and scheme == "duckdb":
        with pytest.raises(Unavailable):
            open_catalog(StorePolicy(url="duckdb:place"), PolicyContext(tmp_path)).collections()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_place_that_is_not_there_yet_holds_nothing(tmp_path: Path, scheme: str) -> None:
    assert store(scheme, tmp_path).collections() == []
    with pytest.raises(NotFound):
        store(scheme, tmp_path).describe("docs")


@pytest.mark.parametrize("scheme", ["duckdb", "lance", "qdrant+edge"])
@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_a_directory_that_nobody_may_read_now_is_out_of_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, code: int
) -> None:
    (tmp_path / "place").mkdir()

    def refused(path: Any) -> list[str]:
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr(pointers.os, "listdir", refused)  # type: ignore[attr-defined]
    with pytest.raises(Unavailable, match=os.strerror(code)):
        store(scheme, tmp_path).collections()
