"""Reading what was kept of an engine's own files: the listing that an entry names."""

from pydantic import ValidationError

from dr_pipelines.errors import Damaged
from dr_pipelines.model.details import NativeEvidence
from dr_pipelines.model.recovery_point import KeptVersion, LogEntry
from dr_pipelines.repository.json_codec import decode_json
from dr_pipelines.repository.reachability import named_object
from dr_pipelines.repository.repository import Repository

LISTING_LIMIT_BYTES = 64 << 20


def kept_version(repository: Repository, entry: LogEntry) -> KeptVersion | None:
    """The engine's files that an entry keeps, if it is one that does; raises `Damaged`."""
    detail = entry.body.detail
    if not isinstance(detail, NativeEvidence):
        return None
    ref = named_object(entry, detail.listing)
    value = decode_json(repository.fetch(ref), what=ref.key, limit_bytes=LISTING_LIMIT_BYTES)
    try:
        return KeptVersion.model_validate(value)
    except ValidationError as error:
        raise Damaged(f"{ref.key}: does not list an engine's files") from error
