"""Vectors of what somebody asks, by the embedder of the policies."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dr_pipelines.cli.output import Mistake
from dr_pipelines.errors import Damaged, NotFound, ProvenanceChanged, TextTooLong, Unavailable

if TYPE_CHECKING:  # imported by the function that needs them
    from dr_pipelines.contents.query_vectors import QueryVectors
    from dr_pipelines.model.collection import CollectionSpec
    from dr_pipelines.project.project import Project


def embedded_queries(
    project: "Project",
    describe: Callable[[], "CollectionSpec"],
    collection: str,
    texts: Sequence[str],
    named: str | None,
    *,
    what: str = "TEXT",
    instead: str = "use --mode keyword, or --like ID",
) -> "QueryVectors":
    """The vectors of queries to a collection, by a named embedder or the one of its policy. What is
    asked is described only where there is an embedder.

    Raises:
        Mistake: the policies name nothing that makes vectors of this collection, or `what` is too
            long a text for it; `instead` is what else to do.
    """
    from dr_pipelines.contents.query_vectors import query_vectors
    from dr_pipelines.project import adapters

    policy = project.collection(collection).policy
    chosen = named or policy.embedder or policy.search_embedder
    if chosen is None:
        raise Mistake(
            f"{collection!r} has no embedder in the policies: name one with --embedder (or as its "
            f"search_embedder), {instead}"
        )
    try:
        model = project.embedder(chosen)
    except NotFound as error:
        raise Mistake(str(error)) from error
    _require_dimension(describe(), collection, model.provenance.dimension, chosen)
    try:
        manifest = project.collection(collection).history().manifest()
        repository = project.reading()
    except (Damaged, Unavailable):
        manifest = repository = None  # nothing can be said of the model then, as `proven` does
    try:
        return query_vectors(
            texts,
            model,
            light=adapters.light_way(model),
            manifest=manifest,
            repository=repository,
        )
    except TextTooLong as error:
        raise Mistake(
            f"{what} has {error.counts[0]} {error.unit} with the query's prompt, and model "
            f"{error.model!r} reads {error.limit}: give a shorter one, or use --mode keyword"
        ) from error
    except ProvenanceChanged as error:
        raise Mistake(str(error)) from error


def _require_dimension(
    spec: "CollectionSpec", collection: str, dimension: int, embedder: str
) -> None:
    vector = spec.vectors[0]
    if vector.dimension != dimension:
        raise Mistake(
            f"embedder {embedder!r} makes vectors of {dimension} components, and those of "
            f"{collection!r} have {vector.dimension}: it is not the model that made them"
        )
