"""Specifications of collections, made from their policies."""

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import CollectionSpec, Field, Metric, Vector, VectorIndex
from dr_pipelines.model.collection_policy import CollectionPolicy
from dr_pipelines.model.notation import VECTOR_NAME


def declared_fields(policy: CollectionPolicy) -> tuple[Field, ...]:
    """The fields that a collection declares."""
    return tuple(
        Field(name=column, type=field.type, filterable=field.filterable, role=field.role)
        for column, field in policy.fields.items()
    )


def collection_spec(
    name: str, policy: CollectionPolicy, *, embedder_dimension: int | None = None
) -> CollectionSpec:
    """The specification that the policy asks a store to create; without `dimension` in the policy,
    the embedder's is needed.
    """
    dimension = policy.dimension or embedder_dimension
    if dimension is None:
        raise InvalidRequest(f"collection {name!r}: its embedder's dimension is needed")
    return CollectionSpec(
        name=name,
        vectors=(
            Vector(
                name=VECTOR_NAME,
                dimension=dimension,
                metric=Metric(policy.metric),
                index=policy.index and VectorIndex(**policy.index.model_dump()),
            ),
        ),
        fields=declared_fields(policy),
        keyword_index=policy.keyword_index,
    )
