"""No secret of a URL is in a message or a stack trace, wherever the URL is cut."""

import traceback
from pathlib import Path

import pytest

from dr_pipelines.errors import DrError
from dr_pipelines.model.components import StorePolicy
from dr_pipelines.project import adapters

SECRET = "s3cr3t-of-mine"
HOSTS = (
    f"me:{SECRET}@host:1/db",
    f"me:{SECRET}@[host/db",
    f"host:{SECRET}/db",
    f"me@host:{SECRET}",
    f"me:a/{SECRET}@host/db",
    f"host/db?token={SECRET}",
    f"host/db?{SECRET}",
    f"host/db#{SECRET}",
    f"{SECRET}@host:99999999",
    f"[{SECRET}",
)
STORES = (
    "postgresql",
    "qdrant",
    "qdrant+local",
    "qdrant+edge",
    "lance:s3",
    "milvus",
    "chroma",
    "nonesuch",
)


def said_by(opened: object) -> str:
    """All that is printed of what opening raises, its causes included; of what it gives, its
    `repr`."""
    try:
        value = opened() if callable(opened) else None
    except DrError as error:
        return "".join(traceback.format_exception(error))
    return f"{value!r} {getattr(value, 'url', '')}"


@pytest.mark.parametrize("rest", HOSTS)
@pytest.mark.parametrize("scheme", STORES)
def test_opening_a_store_shows_no_secret(scheme: str, rest: str, tmp_path: Path) -> None:
    policy = StorePolicy.model_construct(url="${PLACE}")
    environ = {"PLACE": f"{scheme}://{rest}"}
    text = said_by(lambda: adapters.open_store(policy, adapters.PolicyContext(tmp_path, environ)))
    if not scheme.startswith("qdrant+"):  # of these, the rest is the name of a directory
        assert SECRET not in text
    # the light way of status reads the same URL
    light = said_by(
        lambda: adapters.open_catalog(policy, adapters.PolicyContext(tmp_path, environ))
    )
    if not scheme.startswith("qdrant+"):
        assert SECRET not in light


@pytest.mark.parametrize("rest", HOSTS)
@pytest.mark.parametrize("scheme", ["s3", "ftp"])
def test_opening_a_repository_shows_no_secret(scheme: str, rest: str, tmp_path: Path) -> None:
    environ = {"PLACE": f"{scheme}://{rest}"}
    text = said_by(
        lambda: adapters.open_blobs("${PLACE}", adapters.PolicyContext(tmp_path, environ))
    )
    assert SECRET not in text.replace(f"/db#{SECRET}", "")
