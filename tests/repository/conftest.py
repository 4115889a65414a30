"""Fixtures of tests of stored objects."""

import pytest

from dr_pipelines.repository import segments


@pytest.fixture
def every_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small segments have an index, too."""
    monkeypatch.setattr(segments, "INDEX_FROM_BYTES", 0)
