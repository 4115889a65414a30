"""Golden queries: what a collection must answer, whoever serves it."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, model_validator
from pydantic import Field as Key

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.base import Sha256
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.components import Policy
from dr_pipelines.model.filter_syntax import parse_filter
from dr_pipelines.model.notation import Text
from dr_pipelines.model.query import And, Contains, Equals, Filter

MOST_QUERIES = 1_000
MOST_HITS = 100
Name = Annotated[str, Key(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.-]{0,99}$")]
Share = Annotated[float, Key(ge=0, le=1)]


class Judgement(Policy):
    """A document that answers a query."""

    document: Text = Key(description="Its id.", examples=["guides/backup.md"])
    grade: Annotated[int, Key(ge=1, le=10)] = Key(
        default=1, description="How well it answers: the gain in nDCG.", examples=[2]
    )
    sha256: Sha256 | None = Key(
        default=None,
        description="Of its text when this was judged, as `dr documents` says it: a document that "
        "changed since is reported, since nobody has judged what it says now.",
    )


class Least(Policy):
    """Measures that a query's answers must reach."""

    recall: Share | None = Key(
        default=None,
        description="Of the relevant documents, the share among the first `limit`.",
        examples=[0.8],
    )
    ndcg: Share | None = Key(
        default=None,
        description="nDCG of the first `limit`: how far up the relevant ones stand.",
        examples=[0.7],
    )


class GoldenQuery(Policy):
    """A query and what must come of it."""

    id: Name = Key(description="What reports call it.", examples=["stale-map"])
    text: Text | None = Key(
        default=None, description="What is asked, in words.", examples=["stale weather map"]
    )
    like: Text | None = Key(
        default=None,
        description="Instead of `text`: the id of a record whose stored vector asks. That record "
        "is no answer.",
        examples=["note-17"],
    )
    mode: Literal["vector", "keyword", "hybrid"] = Key(
        default="vector", description="By meaning, by words, or both rankings fused."
    )
    filter: Text | None = Key(
        default=None, description="As for `dr search --filter`.", examples=["team = 'cloud'"]
    )
    tenant: Text | None = Key(
        default=None,
        description="Only records of this tenant are asked; needs a field of role `tenant`.",
        examples=["acme"],
    )
    principal: Text | None = Key(
        default=None,
        description="Only records that this principal may see are asked; needs a field of role "
        "`principals`.",
        examples=["oncall"],
    )
    limit: Annotated[int, Key(ge=1, le=MOST_HITS)] = Key(
        default=10, description="How many documents count."
    )
    relevant: tuple[Judgement, ...] = Key(
        default=(), description="Documents that answer it, by which answers are measured."
    )
    must: tuple[Text, ...] = Key(
        default=(), description="Documents that must be among the answers.", examples=[["map.md"]]
    )
    must_not: tuple[Text, ...] = Key(
        default=(),
        description="Documents that must not be: deleted ones, or those of others.",
        examples=[["secret.md"]],
    )
    least: Least = Key(default=Least(), description="What the answers must reach.")
    must_hold: bool = Key(
        default=False, description="Whether nothing may be served while this query fails."
    )

    @model_validator(mode="after")
    def _asks_one_thing(self) -> Self:
        if (self.text is None) == (self.like is None):
            raise ValueError("expected either text or like")
        if self.like is not None and self.mode != "vector":
            raise ValueError("expected mode vector with like, which asks by a stored vector")
        if not (self.relevant or self.must or self.must_not):
            raise ValueError("expected relevant, must or must_not: nothing would be checked")
        if not self.relevant and self.least != Least():
            raise ValueError("expected relevant documents, by which recall and ndcg are measured")
        both = sorted({*self.must, *(j.document for j in self.relevant)} & {*self.must_not})
        if both:
            raise ValueError(f"expected {both[0]!r} either among the answers or not")
        return self


def _apart(queries: tuple[GoldenQuery, ...]) -> tuple[GoldenQuery, ...]:
    ids = [query.id for query in queries]
    twice = next((name for name in ids if ids.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"expected one query {twice!r}, found {ids.count(twice)}")
    return queries


class GoldenSet(Policy):
    """The golden queries of a collection."""

    v: Literal[1] = Key(description="The version of this form.")
    queries: Annotated[tuple[GoldenQuery, ...], AfterValidator(_apart)] = Key(
        min_length=1, max_length=MOST_QUERIES, description="The queries."
    )


def scope(
    spec: CollectionSpec,
    *,
    filter: str | None = None,
    tenant: str | None = None,
    principal: str | None = None,
) -> Filter | None:
    """The records that a query asks of: that a filter keeps, of a tenant, seen by a principal.

    Raises:
        InvalidRequest: the filter does not fit, or there is no field of that role.
    """
    parts = list[Filter]()
    if tenant is not None:
        parts.append(Equals(_with_role(spec, "tenant"), tenant))
    if principal is not None:
        parts.append(Contains(_with_role(spec, "principals"), principal))
    if filter is not None:
        parts.append(parse_filter(filter, spec))
    return And(tuple(parts)) if len(parts) > 1 else next(iter(parts), None)


def _with_role(spec: CollectionSpec, role: Literal["tenant", "principals"]) -> str:
    field = spec.with_role(role)
    if field is None:
        raise InvalidRequest(f"the collection has no field of role {role}")
    return field.name
