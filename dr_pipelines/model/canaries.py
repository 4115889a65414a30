"""Texts that are embedded again before anything else is, to see that a model is still the same."""

import base64
from typing import Annotated, Literal

from pydantic import Field as Constraint

from dr_pipelines.model.base import Stored, Time
from dr_pipelines.model.lineage import EmbedderProvenance, Environment

Distance = Annotated[float, Constraint(ge=0, allow_inf_nan=False)]


class Tolerance(Stored):
    """How far two vectors of one text may be apart: the largest difference of a component, and the
    largest 1 - cos. Between batch sizes and instruction sets local models stay below 2e-7 and
    5e-13; what a hosted one needs is measured."""

    component: Distance = 1e-6
    cosine: Distance = 1e-9

    def covers(self, component: float, cosine: float) -> bool:
        """True if a distance is within this tolerance; NaN never is."""
        return component <= self.component and cosine <= self.cosine


class Canaries(Stored):
    """Vectors that a model returned for sample texts and queries when it was first used.

    Vectors are float32, little-endian, one after the other, in base64. They agree bit for bit with
    what a reproducible embedder makes in the same `environment`, and within `tolerance` otherwise.
    """

    v: Literal[1] = 1
    embedder: EmbedderProvenance
    environment: Environment
    at: Time
    texts: tuple[str, ...]
    queries: tuple[str, ...]
    vectors: str
    query_vectors: str
    tolerance: Tolerance = Tolerance()

    def data(self) -> tuple[bytes, bytes]:
        """The bytes of the vectors, of texts and of queries. Raises `ValueError` where they are not
        as many as the texts."""
        parts = tuple(
            base64.b64decode(text, validate=True) for text in (self.vectors, self.query_vectors)
        )
        width = 4 * self.embedder.dimension
        if [len(part) for part in parts] != [len(self.texts) * width, len(self.queries) * width]:
            raise ValueError("expected a vector for every text")
        return parts[0], parts[1]
