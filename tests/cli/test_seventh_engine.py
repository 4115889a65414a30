"""An engine of another package is a store like any other, by its entry point alone."""

from pathlib import Path

import pytest
import yaml

from tests.cli.workplace import Workplace
from tests.stores.test_engines import installed

EXAMPLE = Path(__file__).parents[2] / "examples" / "adapter"


def test_a_seventh_engine_is_installed_and_nothing_else_is_touched(
    fresh: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path / "site", "parquet_engine:ENGINE")
    for directory in (tmp_path / "site", EXAMPLE):
        monkeypatch.syspath_prepend(directory)
    policies = fresh.directory / "policies.yaml"
    policies.write_text(policies.read_text().replace('"duckdb:stores"', '"parquet:stores"'))

    for words in ("ingest notes", "backup notes"):
        done = fresh.dr(*words.split())
        assert done.code == 0, done.err
    (stored,) = (fresh.directory / "stores").glob("*.parquet")
    assert fresh.dr("status").code in (0, 3)

    proposed = fresh.dr("init", "stores", "--policies", "other.yaml")
    assert proposed.code == 0, proposed.err
    written = yaml.safe_load((fresh.directory / "other.yaml").read_text())
    assert written["stores"]["main"]["url"] == "parquet:stores"

    stored.unlink()
    assert fresh.dr("restore", "notes", "--switch").code == 0
    assert fresh.dr("search", "notes", "crow", "--mode", "keyword").code == 0
