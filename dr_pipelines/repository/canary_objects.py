"""Canaries as objects: written once for each model, named by the manifests of its vectors."""

from pydantic import ValidationError

from dr_pipelines.errors import Damaged, NotFound, Refused
from dr_pipelines.model.canaries import Canaries
from dr_pipelines.model.lineage import EmbedderProvenance
from dr_pipelines.model.recovery_point import CanariesRef, Manifest, ObjectRef
from dr_pipelines.repository.history import History
from dr_pipelines.repository.json_codec import JSON_LIMIT_BYTES, decode_json, require_version
from dr_pipelines.repository.repository import Repository


def write_canaries(history: History, canaries: Canaries) -> CanariesRef:
    """Store canaries under a name that tells their model."""
    repository, place = history.repository, _place(history, canaries.embedder)
    ref = repository.put(f"{place}{repository.new_name('-')}.json", canaries.canonical())
    return CanariesRef(**ref.model_dump())


def read_canaries(repository: Repository, ref: ObjectRef) -> Canaries:
    """Fetch, check and parse; raises `Damaged`, and `Refused` for canaries of a later format."""
    return _parsed(repository.fetch_json(ref), ref.key)


def named_canaries(manifest: Manifest | None, embedder: EmbedderProvenance) -> CanariesRef | None:
    """The canaries that a manifest names, where its vectors are of this model."""
    if manifest is None or manifest.provenance is None or manifest.canaries is None:
        return None
    return manifest.canaries if manifest.provenance.embedder == embedder else None


def left_canaries(history: History, embedder: EmbedderProvenance) -> CanariesRef | None:
    """The oldest canaries of a model that are stored and whole, named by a manifest or not. A
    listing that misses them costs a comparison, nothing else."""
    blobs = history.repository.blobs
    for key in sorted(blobs.keys(_place(history, embedder))):
        try:
            data = blobs.read(key, (0, JSON_LIMIT_BYTES + 1))
            value = decode_json(data, what=key, limit_bytes=JSON_LIMIT_BYTES)
            if _parsed(value, key).embedder == embedder:
                return CanariesRef.of(key, data)
        except (NotFound, Damaged, Refused):
            continue
    return None


def _place(history: History, embedder: EmbedderProvenance) -> str:
    return f"{history.collection}/canaries/{embedder.fingerprint[:16]}/"


def _parsed(value: object, key: str) -> Canaries:
    require_version(value, what=key)
    try:
        canaries = Canaries.model_validate(value)
        canaries.data()
    except (ValidationError, ValueError) as error:
        raise Damaged(f"{key}: does not hold canaries") from error
    return canaries
