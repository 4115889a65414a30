"""Writing a proposed policies file: checked first, whole or not at all, never over another."""

import os
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

from dr_pipelines.errors import AlreadyExists, InvalidRequest, Unavailable
from dr_pipelines.project.policy_file import InvalidPolicy, load_policies
from dr_pipelines.project.proposal.proposal import Proposal
from dr_pipelines.project.proposal.text import written

MODE = 0o600


def write_policies(proposal: Proposal, path: Path, *, environ: Mapping[str, str]) -> None:
    """Make the file, readable by its owner alone.

    Raises:
        AlreadyExists: there is something of that name, which stays as it is.
        InvalidRequest: what was found cannot be said in a policies file; nothing is written.
        Unavailable: the directory cannot be written to.
    """
    if os.path.lexists(path):
        raise there_is_one(path)
    try:
        text = written(proposal.lines())
    except ValueError as error:
        raise InvalidRequest(f"nothing is written: {error}") from None
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        _keep(temporary, text)
        _require_readable(temporary, environ={**environ, **proposal.variables})
        path.hardlink_to(temporary)
    except FileExistsError:
        raise there_is_one(path) from None
    except OSError as error:
        raise Unavailable(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)


def there_is_one(path: Path) -> AlreadyExists:
    """Why nothing is written."""
    return AlreadyExists(
        f"{path} exists, and is left as it is: name another file with --policies FILE"
    )


def _keep(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())


def _require_readable(path: Path, *, environ: Mapping[str, str]) -> None:
    try:
        load_policies(path, environ)
    except InvalidPolicy as error:
        problems = str(error).replace(f"{path}:", "line ")
        raise InvalidRequest(
            "what is there cannot be described in a policies file, and nothing is written: "
            f"{problems}"
        ) from None
