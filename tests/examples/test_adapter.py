"""The adapter of the tutorial keeps the contract, and its page quotes it as it is."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from dr_pipelines.errors import (
    Damaged,
    InvalidRequest,
    NotFound,
    Unavailable,
)
from dr_pipelines.protocols import VectorStore
from dr_pipelines.testing.store_contract import VectorStoreContract
from dr_pipelines.testing.store_samples import (
    SPEC,
    contents,
    document,
    expected,
    record,
    table,
)

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "adapter" / "parquet_store.py"
REGISTRATION = EXAMPLE.with_name("parquet_engine.py")
PAGE = ROOT / "docs" / "adapters" / "README.md"


def loaded() -> ModuleType:
    """The example, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("parquet_store", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


parquet_store = loaded().parquet_store


def stored_as(compression: str, **optimizers: int) -> dict[str, object]:
    section = {"storage": {"compression": compression}, "optimizers": optimizers}
    return {"parquet": section}


SILENT = {"tuned": frozenset(["engine.parquet.optimizers"])}


class TestParquet(VectorStoreContract):
    engine = "parquet"
    tuned = (
        SPEC.physical("tuned").model_copy(
            update={"engine": stored_as("GZIP", compression_level=3)},
        ),
    )
    unreported = SILENT

    @pytest.fixture
    def store(self, tmp_path: Path) -> VectorStore:
        store: VectorStore = parquet_store(tmp_path / "store")
        return store

    def reopened(self, store: VectorStore) -> VectorStore:
        again: VectorStore = parquet_store(store.driver.directory)  # type: ignore[attr-defined]
        return again


def test_a_description_says_what_the_file_is(tmp_path: Path) -> None:
    store = parquet_store(tmp_path)
    spec = TestParquet.tuned[0]
    store.create(spec)
    assert store.describe("tuned").engine["parquet"] == {
        "storage": {"compression": "GZIP"},
        "optimizers": {"compression_level": 3},
        "unreported": ["engine.parquet.optimizers"],
    }
    store.create(SPEC)
    (tmp_path / "tuned.parquet").write_bytes((tmp_path / f"{SPEC.name}.parquet").read_bytes())
    assert store.describe("tuned").engine["parquet"] == {"storage": {"compression": "ZSTD"}}


def test_a_write_to_a_copied_file_leaves_the_original_alone(tmp_path: Path) -> None:
    store = parquet_store(tmp_path)
    store.create(SPEC)
    store.write(SPEC.name, table(*document("a", chunks=2)))
    (tmp_path / "copy.parquet").write_bytes((tmp_path / f"{SPEC.name}.parquet").read_bytes())
    assert store.describe("copy").name == "copy"
    store.write("copy", table(*document("b", chunks=1)), replaces=["a"])
    store.build_index("copy")
    assert contents(store) == expected(*document("a", chunks=2))
    assert contents(store, "copy") == expected(*document("b", chunks=1))


def test_a_compression_that_is_not_there_is_refused(tmp_path: Path) -> None:
    store = parquet_store(tmp_path)
    with pytest.raises(InvalidRequest, match="expected a compression of ZSTD"):
        store.create(SPEC.model_copy(update={"engine": stored_as("RAR")}))
    assert store.collections() == []


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not Parquet at all"])
def test_a_file_that_is_no_collection_is_damaged(tmp_path: Path, content: bytes) -> None:
    store = parquet_store(tmp_path)
    (tmp_path / "strange.parquet").write_bytes(content)
    with pytest.raises(Damaged, match=r"strange\.parquet is not a collection"):
        store.describe("strange")


def test_a_write_that_fails_leaves_the_version_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = parquet_store(tmp_path)
    store.create(SPEC)
    store.write(SPEC.name, table(*document("a", chunks=3)))
    before = sorted(path.name for path in tmp_path.iterdir())

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", full)
        with pytest.raises(Unavailable, match="No space left"):
            store.write(SPEC.name, table(record("b")), replaces=["a"])
    assert contents(store) == expected(*document("a", chunks=3))
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_reader_follows_an_alias_whose_old_collection_is_dropped_meanwhile(
    tmp_path: Path,
) -> None:
    store = parquet_store(tmp_path)
    other = SPEC.physical("other")
    for spec in (SPEC, other):
        store.create(spec)
    store.promote(SPEC.name, alias="served")
    targets = iter([SPEC.name, "other", "other"])
    store.promote("other", alias="served")
    store.drop(SPEC.name)
    store.driver.aliases.target = lambda alias: next(targets)
    assert store.describe("served").name == "other"
    with pytest.raises(NotFound, match="unknown"):
        parquet_store(tmp_path).describe("unknown")


def blocks() -> list[str]:
    """Python of the page, but for the blocks of other files."""
    return re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def test_the_page_quotes_the_example_word_for_word() -> None:
    sources = (EXAMPLE.read_text(), REGISTRATION.read_text(), Path(__file__).read_text())
    assert len(blocks()) >= 5
    for block in blocks():
        assert any(block in source for source in sources), block


def test_the_page_and_the_links_in_it_are_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", PAGE.read_text())
    engines = {f"{name}.md" for name in ("pgvector", "qdrant", "lancedb", "milvus", "chroma")}
    assert engines < set(links)
    for link in set(links) - engines:
        assert (PAGE.parent / link).exists(), link
