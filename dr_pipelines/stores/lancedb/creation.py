"""Making a table for a specification: with its label in one step, its configuration after it."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.stores.lancedb.records import LABEL
from dr_pipelines.stores.lancedb.schema import records_of, section_of
from dr_pipelines.stores.shared.label import Label, encoded

CLEANING = {"interval": 100, "older_than_seconds": 7 * 24 * 60 * 60}
"""Every 100 commits Lance removes versions of our own collections that are older than a week and
have no tag; LanceDB's `optimize` keeps as long."""


def create_table(uri: str, spec: CollectionSpec, *, options: dict[str, str] | None) -> None:
    """Commit an empty table. Raises what Lance does where there is one."""
    import lance

    section = section_of(spec)
    properties = {k: v for k, v in section.get("properties", {}).items() if k != LABEL}
    label = {LABEL: encoded(Label(spec=spec))}
    schema = records_of(spec).schema.with_metadata({**_encoded(properties), **_encoded(label)})
    storage = section.get("storage", {})
    lance.write_dataset(
        pa.RecordBatchReader.from_batches(
            schema, []
        ),  # makes no array: of some types there is none
        uri,
        schema=schema,
        mode="create",
        storage_options=options,
        data_storage_version=storage.get("version"),
        enable_stable_row_ids=storage.get("stable_row_ids", False),
        auto_cleanup_options=None if "configuration" in section else CLEANING,
    )


def configured(dataset: Any, spec: CollectionSpec) -> None:
    """Give a table of ours the configuration that its specification asks for, where it lacks it:
    also after a process that died between a table and its configuration."""
    section = section_of(spec)
    config, comments = section.get("configuration", {}), section.get("comments", {})
    missing = _missing(config, dataset.config())
    if missing:
        dataset.update_config(missing)
    if _missing(comments, dataset.metadata):
        dataset.update_metadata(comments)


def _missing(expected: Mapping[str, str], present: Mapping[str, str]) -> dict[str, str | None]:
    return {k: v for k, v in expected.items() if present.get(k) != v}


def _encoded(pairs: Mapping[str, str]) -> dict[bytes, bytes]:
    return {k.encode(): v.encode(errors="surrogateescape") for k, v in pairs.items()}
