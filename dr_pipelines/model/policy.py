"""All that a policies file says: where things are, and the collections."""

from typing import Annotated, Literal, Self

from pydantic import Field as Key
from pydantic import (
    ValidationInfo,
    model_validator,
)

from dr_pipelines.errors import NotFound
from dr_pipelines.model.collection_policy import CollectionPolicy
from dr_pipelines.model.components import (
    EmbedderPolicy,
    Policy,
    StorePolicy,
)
from dr_pipelines.model.notation import (
    LOCAL,
    Name,
    Place,
    Surroundings,
    did_you_mean,
    form,
    one_of,
    surroundings,
)
from dr_pipelines.model.recovery_order import Place as RecoveryPlace
from dr_pipelines.model.recovery_order import recovery_order
from dr_pipelines.model.vector_encoding import Compression

REPOSITORY = form(
    "s3://[^/?#]+.*|file:/.+|memory:|[^:]+",
    "a directory, s3://BUCKET/PREFIX, file:/PATH or memory:",
)


class Policies(Policy):
    """All that `policies.yaml` says."""

    version: Literal[1] = Key(description="The version of this file's form.", examples=[1])
    repository: Annotated[Place, REPOSITORY] = Key(
        description="Where recovery points are kept: a directory, or "
        "`s3://BUCKET/PREFIX?endpoint=URL` (and `&checksums=no` where the server refuses "
        "the header `x-amz-checksum-sha256`), with credentials from the environment "
        "(`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`). `memory:` keeps nothing.",
        examples=["s3://backups/vectors"],
    )
    state: Annotated[Place, LOCAL] = Key(
        default=".dr/state",
        description="A directory of this machine for locks, the log heads it has seen, scratch "
        "space, and what it remembers of files that were hashed, some of their records among it. "
        "Not shared, not backed up.",
        examples=[".dr/state"],
    )
    access: Literal["private", "group"] = Key(
        default="private",
        description="Who may look into what is made on this machine (a repository in a directory, "
        "`state`, stores in directories, temporary files): `private`: only the user who runs this; "
        "`group`: the directory's group too. What is there already keeps its modes.",
        examples=["group"],
    )
    compression: Compression = Key(
        default="auto",
        description="How vectors are stored in the repository. `never`: as they are, which is "
        "fastest, and they can be searched where they lie. `always`: compressed with zstd, about a "
        "tenth smaller for several times the work. `auto`: compressed where the repository is not "
        "on this machine and objects left for it at less than 55 MB/s: by the run's own measure "
        "once it has sent 16 MiB, before by that of an earlier run of this machine; `dr backup "
        "--json` and `dr ingest --json` say what was chosen and why. Both are read the same.",
        examples=["always"],
    )
    stores: dict[Name, StorePolicy] = Key(description="Vector stores, by name.", min_length=1)
    embedders: dict[Name, Annotated[EmbedderPolicy, Key(discriminator="kind")]] = Key(
        default={}, description="What makes vectors of texts, by name."
    )
    collections: dict[Name, CollectionPolicy] = Key(
        description="Collections, by the name that users query.", min_length=1
    )

    def collection(self, name: str) -> CollectionPolicy:
        """The policy of a collection; raises `NotFound` with the names there are."""
        if name not in self.collections:
            raise NotFound(
                f"no policy for {name!r}: {one_of('a collection', name, self.collections)}"
            )
        return self.collections[name]

    def in_order(self) -> list[str]:
        """Names of the collections in the order of recovery."""
        return recovery_order(
            {name: RecoveryPlace(p.priority, p.depends_on) for name, p in self.collections.items()}
        )

    def stored_names(self, store: str) -> dict[str, str]:
        """Collection → what a store calls it, for those that it calls otherwise; raises
        `ValueError` where one name is given twice."""
        here = {name: policy for name, policy in self.collections.items() if policy.store == store}
        called = {name: p.stored_as for name, p in here.items() if p.stored_as not in (None, name)}
        names = {name: stored for name, stored in called.items() if stored is not None}
        taken = [*names.values(), *(name for name in here if name not in names)]
        twice = sorted(name for name in set(taken) if taken.count(name) > 1)
        if twice:
            raise ValueError(f"expected one collection of {store!r} that is stored as {twice[0]!r}")
        return names

    def _require_dependencies(self) -> None:
        for name, policy in self.collections.items():
            for other in policy.depends_on:
                if other not in self.collections:
                    raise ValueError(
                        f"expected collections of this file in depends_on of {name!r}, not "
                        f"{other!r}{did_you_mean(other, self.collections)}"
                    )
        self.in_order()

    @model_validator(mode="after")
    def _names_are_declared(self, info: ValidationInfo) -> Self:
        """Policies made in code are checked here, those of a file where each name stands."""
        for store in self.stores:
            self.stored_names(store)
        self._require_dependencies()
        if surroundings(info) is None:
            kinds = {name: embedder.kind for name, embedder in self.embedders.items()}
            around = Surroundings(stores=tuple(self.stores), embedders=kinds)
            for collection in self.collections.values():
                CollectionPolicy.model_validate(collection.model_dump(), context=around)
        return self
