"""A vector is of the whole text, by one model as its files are, or it is refused."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dr_pipelines.chunkers.simple import CharacterChunker, WholeDocumentChunker
from dr_pipelines.chunkers.token import TokenChunker
from dr_pipelines.embedders import model_card
from dr_pipelines.embedders.hashing import HashingEmbedder
from dr_pipelines.embedders.sentence_transformer import SentenceTransformerEmbedder
from dr_pipelines.errors import (
    DrError,
    InvalidRequest,
    Refused,
    TextTooLong,
)
from dr_pipelines.project import adapters
from dr_pipelines.protocols import Chunker
from tests.ingestion.desk import Desk
from tests.ingestion.models import (
    WIDTH,
    saved_again,
    tiny_model,
    write,
)

Embedder = SentenceTransformerEmbedder
PROFILES = ("reproducible", "fast")
WORDS = " ".join(["restore"] * 80)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny", limit=48)


@pytest.fixture
def tiny(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "tiny")


def of(tokens: int) -> str:
    """A text of so many tokens, two special ones included."""
    return " ".join(["restore"] * (tokens - 2))


def test_the_limit_of_a_model_is_the_smallest_that_its_files_state(tiny: Path) -> None:
    assert Embedder(tiny).provenance.max_tokens == 48
    write(tiny, "sentence_bert_config.json", max_seq_length=None)
    assert Embedder(tiny).provenance.max_tokens == 64
    write(tiny, "tokenizer_config.json", model_max_length=32)
    assert Embedder(tiny).provenance.max_tokens == 32
    write(tiny, "sentence_bert_config.json", processor_kwargs={"model_max_length": 16})
    assert Embedder(tiny).provenance.max_tokens == 16


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("layout", ["old", "recent", "tokenizer alone", "positions alone"])
def test_a_text_is_read_to_its_end_or_refused(
    tiny: Path, tmp_path: Path, layout: str, profile: Any
) -> None:
    limit = 48
    if layout == "recent":
        tiny = saved_again(tiny, tmp_path / "again")
        assert "max_seq_length" not in json.loads((tiny / "sentence_bert_config.json").read_text())
    if layout == "tokenizer alone":
        write(tiny, "sentence_bert_config.json", max_seq_length=None)
        write(tiny, "tokenizer_config.json", model_max_length=limit)
    if layout == "positions alone":
        limit = 64
        write(tiny, "sentence_bert_config.json", max_seq_length=None)
        write(tiny, "tokenizer_config.json", model_max_length=None)
    embedder = Embedder(tiny, profile=profile)
    assert embedder.provenance.max_tokens == limit
    shorter, whole = embedder.embed([of(limit - 1), of(limit - 1) + " nightly"])
    assert shorter.tobytes() != whole.tobytes()
    with pytest.raises(TextTooLong, match=f"reads {limit} tokens, and 1 texts have more") as caught:
        embedder.embed(["a", of(limit) + " nightly"])
    assert (caught.value.counts, caught.value.limit) == ({1: limit + 1}, limit)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_prompt_of_each_side_is_counted_in(tiny: Path, profile: Any) -> None:
    embedder = Embedder(tiny, profile=profile, prompt="one two ", query_prompt="one ")
    assert embedder.prompt_tokens() == 2
    embedder.embed([of(46)])
    embedder.embed_queries([of(47)])
    with pytest.raises(TextTooLong):
        embedder.embed([of(47)])
    with pytest.raises(TextTooLong):
        embedder.embed_queries([of(48)])


def test_a_model_that_reads_less_than_its_files_say_is_refused(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_card, "LENGTHS", ())  # a limit that stands where nobody looks
    with pytest.raises(InvalidRequest, match=r"reads 48 tokens once it is loaded, but .* say 64"):
        Embedder(tiny).embed(["a"])


CHUNKERS: dict[str, Chunker] = {
    "document": WholeDocumentChunker(),
    "characters": CharacterChunker(10_000),
}


@pytest.mark.parametrize("kind", ["document", "characters", "tokens"])
def test_a_chunk_of_any_chunker_that_is_too_long_is_named(
    tiny: Path, tmp_path: Path, kind: str
) -> None:
    chunker = CHUNKERS.get(kind) or TokenChunker(tiny, max_tokens=64)
    desk = Desk(tmp_path)
    desk.say("long", WORDS)
    desk.say("short", "restore")
    with pytest.raises(InvalidRequest) as caught:
        desk.process(chunker, Embedder(tiny)).ingest()
    message = str(caught.value)
    assert "1 chunks are longer than model 'tiny' reads, 48 tokens with title and prompt" in message
    assert "'long#000000' has " in message
    assert "short#" not in message


@pytest.mark.parametrize(("max_tokens", "prompt", "fits"), [(48, "", True), (49, "", False)])
def test_a_chunker_that_may_exceed_the_model_is_refused_at_the_policy(
    tiny: Path, max_tokens: int, prompt: str, fits: bool
) -> None:
    chunker, model = TokenChunker(tiny, max_tokens=max_tokens), Embedder(tiny, prompt=prompt)
    if fits:
        adapters.require_readable("notes", chunker, model, embedder="small")
        return
    with pytest.raises(InvalidRequest) as caught:
        adapters.require_readable("notes", chunker, model, embedder="small")
    assert str(caught.value).startswith(
        "collections.notes.chunker.max_tokens is 49, but embedder 'small' reads 48 tokens"
    )


def test_the_prompt_takes_its_tokens_from_the_chunks(tiny: Path) -> None:
    chunker, model = TokenChunker(tiny, max_tokens=48), Embedder(tiny, prompt="passage: ")
    with pytest.raises(InvalidRequest, match=r"of which its prompt takes 2: .* at most 46"):
        adapters.require_readable("notes", chunker, model, embedder="small")
    adapters.require_readable("notes", TokenChunker(tiny, max_tokens=46), model, embedder="small")
    adapters.require_readable("notes", chunker, HashingEmbedder(), embedder="any")


FILES = {
    "config.json": {"hidden_act": "relu"},
    "tokenizer_config.json": {"do_lower_case": False},
    "special_tokens_map.json": {"unk_token": "[MASK]"},
    "sentence_bert_config.json": {"do_lower_case": True},
    "config_sentence_transformers.json": {"similarity_fn_name": "dot"},
    "1_Pooling/config.json": {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False},
    "2_Normalize/config.json": {"p": 1},
    "added_tokens.json": {"restore": 100},
    "generation_config.json": {"x": 1},
    "chat_template.jinja": None,
    "vocab.txt": None,
    "modules.json": None,
    "tokenizer.json": None,
    "model.safetensors": None,
}


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_change_of_any_file_that_is_read_is_named(tiny: Path, name: str) -> None:
    before = Embedder(tiny).provenance
    path, values = tiny / name, FILES[name]
    path.parent.mkdir(exist_ok=True)
    if values is None:
        path.write_bytes((path.read_bytes() if path.exists() else b"") + b"\n")
    else:
        write(tiny, name, **values)  # type: ignore[arg-type]
    after = Embedder(tiny).provenance
    assert after.fingerprint != before.fingerprint
    assert after.revision != before.revision
    differing = {
        key
        for key in before.files.keys() | after.files.keys()
        if before.files.get(key) != after.files.get(key)
    }
    assert differing == {name}


def test_what_is_not_read_is_no_part_of_it(tiny: Path) -> None:
    before = Embedder(tiny).provenance
    for name in ("README.md", "LICENSE", ".gitattributes", "picture.png", "onnx/model.json"):
        (tiny / name).parent.mkdir(exist_ok=True)
        (tiny / name).write_text("other")
    assert Embedder(tiny).provenance == before


def test_every_file_that_loading_opens_is_in_the_fingerprint(tiny: Path) -> None:
    opened, watching = set[str](), [True]

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if watching[0] and event == "open" and str(arguments[0]).startswith(f"{tiny}/"):
            opened.add(Path(str(arguments[0])).relative_to(tiny).as_posix())

    sys.addaudithook(note)  # cannot be removed: it is only told to look away
    embedder = Embedder(tiny)
    files = set(embedder.provenance.files)
    opened.clear()
    embedder.embed(["a"])
    watching[0] = False
    read_by_other_languages = {"model.safetensors", "tokenizer.json", "vocab.txt"}
    assert opened >= {"config.json", "modules.json", "1_Pooling/config.json"}
    assert opened | read_by_other_languages <= files


def test_a_collection_refuses_a_model_of_which_a_file_changed(tiny: Path, tmp_path: Path) -> None:
    desk, chunker = Desk(tmp_path), CharacterChunker(100)
    desk.say("a", "Restore The Index")
    desk.process(chunker, Embedder(tiny)).ingest()
    write(tiny, "tokenizer_config.json", do_lower_case=False)
    desk.say("b", "Restore it again")
    with pytest.raises(Refused, match=r"embedder\.files\.tokenizer_config\.json"):
        desk.process(chunker, Embedder(tiny)).ingest()


@pytest.mark.parametrize("profile", PROFILES)
def test_a_models_own_prompts_are_never_applied_by_themselves(tiny: Path, profile: Any) -> None:
    plain = Embedder(tiny, profile=profile).embed(["restore it"])
    prompts = {"query": "query: ", "passage": "passage: "}
    write(tiny, "config_sentence_transformers.json", prompts=prompts, default_prompt_name="passage")
    for prompt in ({}, {"prompt": ""}, {"query_prompt": ""}):
        with pytest.raises(InvalidRequest, match=r"declares prompts \(passage 'passage: ', query"):
            Embedder(tiny, profile=profile, **prompt).embed(["restore it"])  # type: ignore[arg-type]
    none = Embedder(tiny, profile=profile, prompt="", query_prompt="")
    assert none.embed(["restore it"]).tobytes() == plain.tobytes()
    assert none.embed_queries(["restore it"]).tobytes() == plain.tobytes()


def test_both_profiles_apply_the_same_prompts(tiny: Path) -> None:
    fast, exact = (
        Embedder(tiny, profile=profile, prompt="passage: ", query_prompt="query: ")
        for profile in ("fast", "reproducible")
    )
    np.testing.assert_allclose(fast.embed(["x"]), exact.embed(["x"]), atol=1e-6)
    np.testing.assert_allclose(fast.embed_queries(["x"]), exact.embed_queries(["x"]), atol=1e-6)
    other = Embedder(tiny, prompt="passage: ", query_prompt="search: ")
    assert other.provenance.fingerprint != exact.provenance.fingerprint


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("said_by", ["policy", "model"])
def test_the_first_components_are_kept_where_so_many_are_wanted(
    tiny: Path, profile: Any, said_by: str
) -> None:
    full = Embedder(tiny, normalize=False).embed(["restore it"])
    if said_by == "model":
        write(tiny, "config_sentence_transformers.json", truncate_dim=4)
    dimension = 4 if said_by == "policy" else None
    part = Embedder(tiny, profile=profile, dimension=dimension)
    vectors = part.embed(["restore it"])
    expected = full[:, :4] / np.linalg.norm(full[:, :4])
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    assert (part.provenance.dimension, part.provenance.normalized) == (4, True)
    assert not Embedder(tiny, dimension=4, normalize=False).provenance.normalized
    with pytest.raises(InvalidRequest, match="computes 16 components, so dimension 17"):
        _ = Embedder(tiny, dimension=17).provenance


def test_another_revision_is_another_model(tiny: Path) -> None:
    first, second = Embedder(tiny).provenance, Embedder(tiny, revision="2").provenance
    assert (second.revision, second.files) == ("2", first.files)
    assert first.fingerprint != second.fingerprint


def test_a_directory_without_modules_says_its_pooling(tiny: Path) -> None:
    mean = Embedder(tiny).embed(["restore it", "a"])
    with pytest.raises(InvalidRequest, match="says itself how token vectors become one"):
        _ = Embedder(tiny, pooling="mean").provenance
    (tiny / "modules.json").unlink()
    with pytest.raises(InvalidRequest, match=r"no modules\.json, so nothing says how"):
        Embedder(tiny).embed(["a"])
    bare = Embedder(tiny, pooling="mean")
    np.testing.assert_allclose(bare.embed(["restore it", "a"]), mean, atol=1e-6)
    cls = Embedder(tiny, pooling="cls")
    assert np.abs(cls.embed(["restore it", "a"]) - mean).max() > 1e-3
    assert cls.provenance.fingerprint != bare.provenance.fingerprint
    with pytest.raises(TextTooLong):
        bare.embed([of(65)])


def with_a_module(tiny: Path, kind: str) -> None:
    modules = json.loads((tiny / "modules.json").read_text())
    modules.append({"idx": 3, "name": "3", "path": "3_Own", "type": kind})
    (tiny / "modules.json").write_text(json.dumps(modules))
    (tiny / "3_Own").mkdir()


def pickled_module(tiny: Path) -> None:
    with_a_module(tiny, "sentence_transformers.models.Dense")
    (tiny / "3_Own" / "config.json").write_text('{"in_features": 16, "out_features": 8}')
    (tiny / "3_Own" / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'true'\ntR.")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda tiny: with_a_module(tiny, "custom_code.Module"), "code of a model's own"),
        (lambda tiny: with_a_module(tiny, "sentence_transformers.models.BoW"), "not one of"),
        (pickled_module, r"only pickled weights \(3_Own/pytorch_model\.bin\)"),
        (lambda tiny: write(tiny, "adapter_config.json", peft_type="LORA"), "is an adapter"),
    ],
)
def test_parts_that_are_not_loaded_safely_are_refused(
    tiny: Path, damage: Any, message: str
) -> None:
    damage(tiny)
    with pytest.raises(Refused, match=message):
        Embedder(tiny).embed(["a"])


def test_code_that_comes_with_a_model_is_not_run(tiny: Path, tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    (tiny / "own.py").write_text(f"open({str(trap)!r}, 'w')\n")
    write(
        tiny,
        "config.json",
        model_type="own",
        architectures=["Own"],
        auto_map={"AutoConfig": "own.Own", "AutoModel": "own.Own"},
    )
    with pytest.raises(DrError, match="cannot be loaded"):
        Embedder(tiny).embed(["a"])
    assert not trap.exists()


def test_vectors_have_the_dimension_of_the_files(tiny: Path) -> None:
    assert Embedder(tiny).provenance.dimension == WIDTH
    pooling = {"embedding_dimension": WIDTH, "pooling_mode": ["mean", "cls"]}
    (tiny / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    assert Embedder(tiny).embed(["a"]).shape == (1, 2 * WIDTH)
