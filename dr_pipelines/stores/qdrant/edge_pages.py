"""Points of a page of Qdrant Edge as they are taken over: one at a time.

What the binding gives are Python objects, made when an attribute is read: 384 floats for a vector.
Packed before the next point is read they stay in the processor's cache: that took a third of the
time of first making those of a page, which are 12 MB.
"""

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct
from typing import Any, overload

from dr_pipelines.stores.qdrant.variant import Json, Page, PointId, canonical, named


class Ids(Sequence[PointId]):
    """The ids of points, each made where it is asked for: of most records the payload has one."""

    def __init__(self, records: Sequence[Any]) -> None:
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, place: int) -> PointId: ...

    @overload
    def __getitem__(self, place: slice) -> list[PointId]: ...

    def __getitem__(self, place: int | slice) -> PointId | list[PointId]:
        if isinstance(place, slice):
            return [canonical(record.id) for record in self._records[place]]
        return canonical(self._records[place].id)


def page_of(records: Sequence[Any]) -> Page:
    """The points of a page."""
    payloads, vectors = list[Json](), list[Json]()
    for record in records:
        vectors.append({name: _packed(v) for name, v in named(record.vector).items()})
        payloads.append(record.payload or {})
    return Page(ids=Ids(records), payloads=payloads, vectors=vectors)


def _packed(vector: Any) -> Any:
    """The bytes of a dense vector's components; any other vector as it is."""
    if isinstance(vector, list) and vector and isinstance(vector[0], float):
        return _floats(len(vector)).pack(*vector)
    return vector


@lru_cache(maxsize=16)
def _floats(count: int) -> Struct:
    return Struct(f"{count}f")
