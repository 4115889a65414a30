"""A model is the same as long as it makes the same vectors of the same texts.

Files that are equal do not prove it: another library computes otherwise, and a hosted model may
change behind its name. So a few texts and queries are embedded when a model is used first, kept,
and embedded again by every process before its first other text.
"""

import base64
from dataclasses import dataclass

import numpy as np

from dr_pipelines.errors import (
    Damaged,
    InvalidRequest,
    NotFound,
    ProvenanceChanged,
    TextTooLong,
)
from dr_pipelines.ingestion.lineage import Lineage, Proof
from dr_pipelines.ingestion.reproduced import distance
from dr_pipelines.model.canaries import Canaries, Tolerance
from dr_pipelines.model.details import CanariesEvidence, CanaryReading, short_reason
from dr_pipelines.model.query import FloatArray
from dr_pipelines.model.recovery_point import CanariesRef, Manifest
from dr_pipelines.protocols import Embedder
from dr_pipelines.repository.canary_objects import (
    left_canaries,
    named_canaries,
    read_canaries,
    write_canaries,
)
from dr_pipelines.repository.evidence import record_evidence
from dr_pipelines.repository.history import History
from dr_pipelines.repository.repository import Repository

TEXTS = (
    "The index of a vector store is restored from a recovery point.",
    "Crème brûlée, STRASSE und Straße; naïve café — ½ 𝒳 ﬁ",
    "3.14159, 2026-01-05T06:07:08Z, https://example.org/a?b=c#d, x_1 != y[2]",
    "バックアップは夜に実行されます。 Резервная копия 备份 نسخة احتياطية",
    "a",
    " ".join(["Backups are taken at night, and what was taken is read back."] * 12),
    " ".join(["Nothing is said to be safe that nobody has restored."] * 40),
)
"""Case, accents, signs, scripts, one letter, and lengths that reach far into the positions."""
QUERIES = ("how do I restore yesterday's index?", "Straße", "backup 2026")
DENSE, ENDING = "% & ", "Nothing is lost. "
ANEW = (
    "give the embedder another revision in the policies, then build a whole new collection: dr "
    "restore {collection} --route replay --embedder NAME --switch"
)
"""The way out where nothing shows that a model is the same."""
MARGIN = 4
"""What is measured once is allowed so many times over."""
MOST = Tolerance(component=1e-2, cosine=1e-3)
"""Beyond it a model does not make one vector of one text."""


@dataclass(frozen=True)
class _Made:
    """Vectors of texts and queries."""

    texts: tuple[str, ...]
    vectors: FloatArray
    queries: FloatArray


def require_same_model(lineage: Lineage, *, history: History, manifest: Manifest | None) -> None:
    """Embed the canaries of a lineage's model, unless this process has.

    Where there are none yet these are kept. Raises `ProvenanceChanged` where they come out
    otherwise than before: bit for bit under a reproducible profile in the same environment,
    within the tolerance kept with them otherwise.
    """
    if lineage.proofs:
        return
    embedder = lineage.embedder
    ref = named_canaries(manifest, embedder.provenance) or left_canaries(
        history, embedder.provenance
    )
    if ref is None:
        made = _first_canaries(lineage, history)
        ref = write_canaries(history, made)
        left_out = len(TEXTS) - len(made.texts)
        lineage.proofs.append(Proof(ref, first=True, exact=True, left_out=left_out))
        return
    lineage.proofs.append(_compared(lineage, ref, history))


def canaries_for(
    lineage: Lineage, *, history: History, manifest: Manifest | None
) -> CanariesRef | None:
    """The canaries that a manifest of a lineage's vectors names; None where no text was embedded
    yet."""
    named = named_canaries(manifest, lineage.embedder.provenance)
    if named is None and lineage.proofs:
        return lineage.proofs[0].canaries
    return named or left_canaries(history, lineage.embedder.provenance)


def model_proof(lineage: Lineage) -> CanaryReading | None:
    """The canary reading for a log entry's detail: how far the model was from its canaries in
    this process; None if nothing was embedded in it."""
    if not lineage.proofs:
        return None
    proof = lineage.proofs[0]
    return CanaryReading(
        first=proof.first,
        exact=proof.exact,
        component=proof.component,
        cosine=proof.cosine,
        left_out=proof.left_out,
    )


def kept_tolerance(manifest: Manifest, repository: Repository) -> Tolerance:
    """How far vectors of a manifest's model may be apart when they are made again."""
    if manifest.canaries is None:
        return Tolerance()
    return read_canaries(repository, manifest.canaries).tolerance


def _first_canaries(lineage: Lineage, history: History) -> Canaries:
    embedder = lineage.embedder
    texts = _readable(embedder)
    made = _embedded(embedder, texts, QUERIES)
    if not embedder.reproducible:
        _require_read_whole(embedder)
    return Canaries(
        embedder=embedder.provenance,
        environment=embedder.environment,
        at=history.repository.clock(),
        texts=texts,
        queries=QUERIES,
        vectors=_encoded(made.vectors),
        query_vectors=_encoded(made.queries),
        tolerance=Tolerance() if embedder.reproducible else _measured(lineage, made),
    )


def _readable(embedder: Embedder) -> tuple[str, ...]:
    """Those that a model reads to their end."""
    try:
        embedder.embed(TEXTS)
    except TextTooLong as error:
        return tuple(text for place, text in enumerate(TEXTS) if place not in error.counts)
    return TEXTS


def _require_read_whole(embedder: Embedder) -> None:
    """Raise `InvalidRequest` where the end of the longest text that a model says to read decides
    nothing: who counts what it reads here cannot see what a service cuts off there."""
    limit, name = embedder.provenance.max_tokens, embedder.provenance.name
    if limit is None:
        return
    most = _dense(limit)
    try:
        embedder.embed([most])
    except TextTooLong as error:
        most = _dense(limit * len(most) // (len(DENSE) * max(error.counts.values())))
    beginning = most[: max(len(DENSE), len(most) - 2 * len(ENDING))]
    try:
        short, whole = embedder.embed([beginning, beginning + ENDING])
    except TextTooLong:
        return  # a limit of a few tokens: the canaries have reached it already
    if distance(short[None], whole[None])[0] <= Tolerance().component:
        raise InvalidRequest(
            f"model {name!r} is said to read {limit} tokens, but the end of a text of that length "
            "does not change its vector: it is cut off there. Set max_tokens to what it reads"
        )


def _dense(units: int) -> str:
    """A text in which nearly every character is a token."""
    return DENSE * max(1, units)


def _embedded(embedder: Embedder, texts: tuple[str, ...], queries: tuple[str, ...]) -> _Made:
    made = _Made(texts, embedder.embed(texts), embedder.embed_queries(queries))
    if not (np.isfinite(made.vectors).all() and np.isfinite(made.queries).all()):
        raise Damaged(f"model {embedder.provenance.name!r} made a vector that is not finite")
    return made


def _measured(lineage: Lineage, made: _Made) -> Tolerance:
    """A tolerance from embedding the texts again, in other company and alone."""
    embed, texts = lineage.embedder.embed, made.texts
    again = [
        embed(texts),
        embed(texts[::-1])[::-1],
        np.concatenate([embed([text]) for text in texts]),
    ]
    distances = [distance(made.vectors, other) for other in again]
    component, cosine = (max(part) for part in zip(*distances, strict=True))
    if not MOST.covers(component, cosine):
        name = lineage.embedder.provenance.name
        raise InvalidRequest(
            f"model {name!r} makes different vectors of one text, up to {component:.1e} a "
            f"component and 1 - cos = {cosine:.1e} apart: nothing could be proven equal. Use "
            "another model, or another service of it"
        )
    floor = Tolerance()
    return Tolerance(
        component=max(floor.component, MARGIN * component),
        cosine=max(floor.cosine, MARGIN * cosine),
    )


def _compared(lineage: Lineage, ref: CanariesRef, history: History) -> Proof:
    canaries, embedder = _readable_canaries(lineage, ref, history), lineage.embedder
    made = _embedded(embedder, canaries.texts, canaries.queries)
    vectors, queries = (_decoded(part, made) for part in canaries.data())
    pairs = ((made.vectors, vectors), (made.queries, queries))
    component, cosine = (
        max(part) for part in zip(*(distance(ours, theirs) for ours, theirs in pairs), strict=True)
    )
    exact = all(ours.tobytes() == theirs.tobytes() for ours, theirs in pairs)
    left_out = max(len(TEXTS) - len(canaries.texts), 0)
    proof = Proof(ref, False, exact, component=component, cosine=cosine, left_out=left_out)
    same_environment = canaries.environment == embedder.environment
    must_be_exact = embedder.reproducible and same_environment
    if exact or (not must_be_exact and canaries.tolerance.covers(component, cosine)):
        return proof
    raise _changed(lineage, canaries, proof, must_be_exact, history)


def _readable_canaries(lineage: Lineage, ref: CanariesRef, history: History) -> Canaries:
    try:
        return read_canaries(history.repository, ref)
    except (Damaged, NotFound) as error:
        raise Damaged(
            f"{error}. These are the canaries of model {lineage.embedder.provenance.name!r}: "
            "nothing else tells whether it still is the one that made the collection's vectors. "
            "Nothing was embedded. Put the object back from a copy of the repository; or "
            f"{ANEW.format(collection=lineage.collection)}"
        ) from error


def _changed(
    lineage: Lineage, canaries: Canaries, proof: Proof, must_be_exact: bool, history: History
) -> ProvenanceChanged:
    """The refusal; evidence of it is kept once."""
    allowed = (
        "none, in the same environment under a reproducible profile"
        if must_be_exact
        else f"{canaries.tolerance.component:.1e} and {canaries.tolerance.cosine:.1e}"
    )
    changed = _environment_changes(canaries, lineage.embedder)
    name = lineage.collection
    refused = ProvenanceChanged(
        f"{name}: model {canaries.embedder.name!r} is not the one that made the collection's "
        f"vectors, though it says so: {len(canaries.texts) + len(canaries.queries)} canary texts, "
        f"first embedded at {canaries.at.isoformat()}, now differ by up to {proof.component:.1e} a "
        f"component and 1 - cos = {proof.cosine:.1e}; allowed is {allowed}. {changed}Nothing was "
        f"embedded. Go back to what made them; or {ANEW.format(collection=name)}"
    )
    _record(lineage, proof, history, reason=str(refused))
    return refused


def _environment_changes(canaries: Canaries, embedder: Embedder) -> str:
    then, now = canaries.environment, embedder.environment
    changes = [
        f"{name} {then.libraries.get(name)} → {now.libraries.get(name)}"
        for name in sorted(then.libraries.keys() | now.libraries.keys())
        if then.libraries.get(name) != now.libraries.get(name)
    ]
    if then.instruction_set != now.instruction_set:
        changes.append(f"{then.instruction_set} → {now.instruction_set}")
    return f"The environment changed: {', '.join(changes)}. " if changes else ""


def _record(lineage: Lineage, proof: Proof, history: History, *, reason: str) -> None:
    entry = history.head().entry
    if entry is None:
        return
    if isinstance(entry.body.detail, CanariesEvidence):
        return  # said already, and nothing happened since
    detail = CanariesEvidence(
        canaries=proof.canaries.key,
        model=lineage.embedder.provenance.name,
        component=proof.component,
        cosine=proof.cosine,
        reason=short_reason(reason),
    )
    record_evidence(history, detail, objects=[proof.canaries])


def _encoded(vectors: FloatArray) -> str:
    return base64.b64encode(vectors.astype("<f4").tobytes()).decode()


def _decoded(data: bytes, like: _Made) -> FloatArray:
    values: FloatArray = np.frombuffer(data, "<f4").astype(np.float32)
    return values.reshape(-1, like.vectors.shape[1])
