"""A collection as the builders see it: names, owner, partitions, versions. Nothing that runs."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import dagster as dg

from dr_pipelines.errors import DrError
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.collection_policy import CollectionPolicy
from dr_pipelines.model.display import displayed
from dr_pipelines.project.project import Project

COLLECTION_TAG = "dr/collection"
"""Run tag that names the collection a run writes to; dagster.yaml allows one run for each value."""
VERSION_DIGITS = 16
OWNER = re.compile(r"team:.+|[^@\s]+@[^@\s]+\.[A-Za-z]{2,}")


@dataclass(frozen=True)
class Versions:
    """The version that decides whether a stage's partitions are stale; None where it cannot be
    computed."""

    documents: str | None = None
    chunks: str | None = None
    vectors: str | None = None


@dataclass(frozen=True)
class Naming:
    """How definitions are named, where they are part of somebody else's code location."""

    key_prefix: tuple[str, ...] = ()
    group: str | None = None
    name_prefix: str = ""


@dataclass(frozen=True)
class Tracked:
    """`label` is the name where Dagster allows letters, digits and underscores only; `unknown` says
    why there are no versions, where there are none."""

    name: str
    label: str
    policy: CollectionPolicy
    store_url: str
    versions: Versions = Versions()
    columns: dg.TableSchema | None = None
    unknown: str | None = None
    naming: Naming = Naming()

    @property
    def has_source(self) -> bool:
        return self.policy.source is not None

    @property
    def edited(self) -> bool:
        """True if records are changed in the store itself, where only a snapshot sees it."""
        return self.policy.authority != "source"

    @cached_property
    def days(self) -> dg.DailyPartitionsDefinition:
        """Every day from the policy's first one to today, UTC."""
        if self.policy.partitions_start is None:
            raise dg.DagsterInvalidDefinitionError(f"{self.name}: no partitions_start")
        return dg.DailyPartitionsDefinition(
            start_date=self.policy.partitions_start.isoformat(), end_offset=1
        )

    @property
    def store_kind(self) -> str:
        return self.store_url.partition(":")[0]

    @property
    def table(self) -> dict[str, Any]:
        """Metadata of what is served."""
        facts: dict[str, Any] = {"dagster/uri": self.store_url, "dagster/table_name": self.name}
        return facts | ({"dagster/column_schema": self.columns} if self.columns else {})

    def key(self, asset: str) -> dg.AssetKey:
        return dg.AssetKey([*self.key_prefix, asset])

    @property
    def key_prefix(self) -> list[str]:
        """The prefix of all asset keys of the collection, and of no others."""
        return [*self.naming.key_prefix, self.name]

    def owns(self, key: dg.AssetKey) -> bool:
        """True if an asset is one of the collection's."""
        return list(key.path[:-1]) == self.key_prefix

    @property
    def group(self) -> str:
        return self.naming.group or self.label

    def named(self, kind: str) -> str:
        """The name of the collection's job or sensor of a kind."""
        return f"{self.naming.name_prefix}{kind}_{self.label}"

    @property
    def owners(self) -> list[str]:
        """The owner, if Dagster accepts it as one: `team:NAME` or an e-mail address."""
        return [owner for owner in (self.policy.owner,) if OWNER.fullmatch(owner)]


def track(
    project: Project, naming: Naming = Naming(), *, only: Collection[str] | None = None
) -> list[Tracked]:
    """The collections of the policies, or `only` some, in the order of recovery. Raises `NotFound`
    with the known names."""
    for name in only or ():
        project.collection(name)  # or it is said which there are
    labels = unique_labels(project.policies.collections)
    chosen = [name for name in project.policies.in_order() if only is None or name in only]
    return [replace(_tracked(project, name, labels[name]), naming=naming) for name in chosen]


def unique_labels(names: Iterable[str]) -> Mapping[str, str]:
    """A name of letters, digits and underscores for each name, no two the same."""
    labels = dict[str, str]()
    for name in names:
        label = base = re.sub(r"[^A-Za-z0-9_]", "_", name)
        number = 2
        while label in labels.values():
            label, number = f"{base}_{number}", number + 1
        labels[name] = label
    return labels


def column_schema(spec: CollectionSpec) -> dg.TableSchema:
    """A collection's columns, as Dagster shows them."""
    columns = [dg.TableColumn(name, "string") for name in ("id", "document_id", "text", "uri")]
    columns += [
        dg.TableColumn(v.name, f"{v.dtype}[{v.dimension}]", description=f"compared by {v.metric}")
        for v in spec.vectors
    ]
    columns += [
        dg.TableColumn(f.name, str(f.type), description=f.role or None) for f in spec.fields
    ]
    return dg.TableSchema(columns)


def _tracked(project: Project, name: str, label: str) -> Tracked:
    policy = project.collection(name).policy
    place = project.policies.stores[policy.store].url  # as written: variables stay variables
    if policy.source is None:
        return Tracked(name, label, policy, place)
    try:
        lineage = project.collection(name).lineage()
        versions = Versions(
            documents=lineage.source.provenance.fingerprint[:VERSION_DIGITS],
            chunks=lineage.chunks_fingerprint[:VERSION_DIGITS],
            vectors=lineage.provenance.fingerprint[:VERSION_DIGITS],
        )
    except DrError as error:  # a model that is gone must not keep other collections from recovery
        return Tracked(name, label, policy, place, unknown=displayed(str(error)))
    return Tracked(name, label, policy, place, versions, column_schema(lineage.spec))
