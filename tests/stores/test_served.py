"""Clients of engines without aliases ask what an alias stands for, and open it by themselves."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from chromadb import config as chroma

from dr_pipelines.errors import Damaged, InvalidRequest, NotFound
from dr_pipelines.model.components import StorePolicy
from dr_pipelines.project import adapters
from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.chroma import address
from dr_pipelines.stores.served import Served, served
from dr_pipelines.testing.store_samples import SPEC, document, table
from tests.stores.lancedb_samples import on_s3

PAGES = Path(__file__).parents[2] / "docs" / "adapters"
NATIVE = SPEC.name.replace("@", ".")
SCHEMES = {
    "chroma+local": NATIVE,
    "duckdb": f"{SPEC.name}.duckdb",
    "lance": NATIVE,
    "qdrant+edge": SPEC.name,
}
"""What each calls the collection."""


def promoted(scheme: str, base: Path) -> VectorStore:
    store = adapters.open_store(StorePolicy(url=f"{scheme}:store"), adapters.PolicyContext(base))
    store.create(SPEC)
    store.write(SPEC.name, table(*document("a", chunks=3)))
    store.promote(SPEC.name, alias="handbook")
    return store


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_alias_is_resolved_without_its_engine(scheme: str, tmp_path: Path) -> None:
    url = f"{scheme}:store"
    with pytest.raises(NotFound, match="handbook"):
        served(url, "handbook", base=tmp_path)
    promoted(scheme, tmp_path)
    assert served(url, "handbook", base=tmp_path) == Served(SPEC.name, SCHEMES[scheme])
    with pytest.raises(NotFound, match="--switch"):
        served(url, "../handbook", base=tmp_path)
    code = f"""
import sys
from dr_pipelines.stores.served import served
print(served({url!r}, "handbook").collection)
print(*sorted({{"chromadb", "duckdb", "lance", "lancedb", "qdrant_edge"}} & {{*sys.modules}}))
"""
    assert run(code, cwd=tmp_path) == [SPEC.name, ""]
    for path in tmp_path.rglob("handbook.alias"):
        path.write_text("not a name")
    with pytest.raises(Damaged, match="handbook"):
        served(url, "handbook", base=tmp_path)


@pytest.mark.parametrize(
    ("page", "scheme"),
    [("chroma", "chroma+local"), ("lancedb", "lance"), ("qdrant", "qdrant+edge")],
)
def test_the_example_of_each_page_opens_what_is_served(
    page: str, scheme: str, tmp_path: Path
) -> None:
    promoted(scheme, tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", (PAGES / f"{page}.md").read_text(), re.S | re.M)
    (example,) = [block for block in blocks if "served import" in block]
    assert run(example, cwd=tmp_path) == ["3"]


@pytest.mark.parametrize(
    "url", ["postgresql://h/db", "milvus+lite:d", "chroma://h", "memory:", "nothing"]
)
def test_another_scheme_is_refused_with_the_way_to_its_aliases(url: str) -> None:
    with pytest.raises(InvalidRequest, match=r"one of chroma\+local, .*docs/adapters") as refused:
        served(url, "handbook")
    assert repr(url.partition(":")[0]) in str(refused.value)


def test_a_collection_that_chroma_alone_can_name_is_opened_by_that_name(tmp_path: Path) -> None:
    pointers = tmp_path / "store" / ".dr" / "aliases" / "default_tenant" / "default_database"
    pointers.mkdir(parents=True)
    (pointers / "handbook.alias").write_text("c2024-sales@" + "0" * 32)
    with pytest.raises(InvalidRequest, match="open it by the name"):
        served("chroma+local:store", "handbook", base=tmp_path)


def test_an_alias_in_a_bucket_is_resolved(moto_endpoint: str) -> None:
    with on_s3(moto_endpoint, "pointers") as url:
        store = adapters.open_store(StorePolicy(url=url), adapters.PolicyContext(Path()))
        store.create(SPEC)
        with pytest.raises(NotFound, match="handbook"):
            served(url, "handbook")
        store.promote(SPEC.name, alias="handbook")
        assert served(url, "handbook") == Served(SPEC.name, NATIVE)


def test_the_names_that_chroma_assumes_are_known() -> None:
    assert (chroma.DEFAULT_TENANT, chroma.DEFAULT_DATABASE) == (
        address.DEFAULT_TENANT,
        address.DEFAULT_DATABASE,
    )


def run(code: str, *, cwd: Path) -> list[str]:
    """The lines that a program prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.removesuffix("\n").split("\n")
